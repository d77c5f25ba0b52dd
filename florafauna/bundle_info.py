"""bundle.json: what a model is. Needs no torch."""

import json
from pathlib import Path
from typing import Any

from florafauna.errors import UserError
from florafauna.files import write_json

FORMAT = 1


def read_info(folder: Path) -> dict[str, Any]:
    """bundle.json alone, without loading the model."""
    file = folder / "bundle.json"
    try:
        info: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no bundle.json, so it is no complete bundle; run `dvc repro`.") from None
    except ValueError as error:
        raise UserError(f"{file} is no valid JSON ({error}); fetch the bundle again.") from None
    found = info.get("format") if isinstance(info, dict) else None
    if found != FORMAT:
        raise UserError(f"{file} has format {found}, this version reads {FORMAT}; update florafauna.")
    return info


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write bundle.json, the last file of a bundle."""
    write_json(folder / "bundle.json", {"format": FORMAT, **info})
