"""What every page has in common: templates, style and script, in one file that needs no network."""

import base64
import hashlib
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from florafauna.compare.report import figures

ASSETS = Path(__file__).parent / "assets"
OWN = "florafauna.compare.report"


def environment(*packages: str) -> Environment:
    """Jinja with the templates of this folder, and before them those of `packages`."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, OWN)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    found.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False}
    found.filters["sure"] = figures.sure
    found.globals |= {
        # the project's own files, the only text that is not escaped
        "style": Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "frame": figures,
    }
    return found
