"""After `dvc repro`, dvc.lock and the metrics are what was committed."""

from pathlib import Path
from typing import Any

import yaml

from florafauna.base.errors import UserError
from florafauna.ci._commands import committed, output
from florafauna.ci._lock import read_lock


def unchanged(root: Path = Path()) -> str:
    """`UserError` where dvc.lock or a metrics file differs from HEAD."""
    changed = output(root, "git", "diff", "--name-only", "--relative", "HEAD", "--", "dvc.lock", "metrics").splitlines()
    if not changed:
        return "dvc.lock and metrics/ are what is committed."
    before = yaml.safe_load(committed(root, "HEAD", "dvc.lock") or "{}").get("stages", {})
    why = _first_difference(before, read_lock(root))
    raise UserError(
        f"{_listed(changed)} {'is' if len(changed) == 1 else 'are'} not what is committed{why}; "
        "run `dvc repro` and `dvc push`, and commit dvc.lock and metrics/."
    )


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What the first stage that ran again ran again for."""
    for name, stage in after.items():
        known = {dep["path"]: dep.get("md5") for dep in before.get(name, {}).get("deps", [])}
        deps = [dep["path"] for dep in stage.get("deps", []) if known.get(dep["path"]) != dep.get("md5")]
        if deps:
            return f", because {deps[0]} changed without a rerun of {name}"
        if stage.get("params") != before.get(name, {}).get("params"):
            return f", because the params of {name} changed without a rerun"
    return ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
