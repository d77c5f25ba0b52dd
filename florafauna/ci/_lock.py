"""dvc.lock as data: which files a check needs, and which stages are out of date, with the reason in words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from florafauna.base.errors import UserError
from florafauna.ci._commands import output, tracked

COMPARE = "compare"
WITHOUT_TRAINING_PHOTOS = ("evaluate", COMPARE)  # stages that can run where no training photo is


@dataclass(frozen=True)
class Stale:
    """A stage that has to run again, and what changed since it ran."""

    stage: str
    reason: str

    @property
    def trains(self) -> bool:
        """Whether it, or what it reads, is made of training photos."""
        return self.stage.partition("@")[0] not in WITHOUT_TRAINING_PHOTOS


def read_lock(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock by name; `UserError` where there is none or it is broken."""
    try:
        stages = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        raise UserError("dvc.lock is missing; run `dvc repro` and commit dvc.lock.") from None
    except (yaml.YAMLError, TypeError, KeyError):
        raise UserError(
            "dvc.lock is no valid lock file, after a merge conflict perhaps; take one side of it with "
            "`git checkout --theirs dvc.lock`, run `dvc repro` and commit dvc.lock."
        ) from None
    if COMPARE not in stages:
        raise UserError(f"dvc.lock has no stage '{COMPARE}'; run `dvc repro` to the end and commit dvc.lock.")
    return stages


def compared_models(stages: dict[str, dict[str, Any]]) -> list[str]:
    """The models that the compare stage was told to compare, in that order."""
    return str(stages[COMPARE]["cmd"]).split()[3:]


def needed(root: Path, stages: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What the compare stage reads and writes and DVC caches, by path, with its hash.

    That is bundles, predictions, timings and test pixels; no training or validation photo, and
    nothing that training starts from or leaves.
    """
    made = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    compare = stages[COMPARE]
    read = [entry for entry in compare.get("deps", []) if entry["path"] in made]
    files = {entry["path"]: entry["md5"] for entry in (*read, *compare.get("outs", [])) if "md5" in entry}
    in_git = tracked(root, list(files))
    return {path: md5 for path, md5 in files.items() if path not in in_git}


def stale_stages(root: Path, stages: dict[str, dict[str, Any]], outputs: bool = True) -> list[Stale]:
    """Stages whose code, params or inputs differ from dvc.lock; what depends on them alone is not among them.

    A file that is absent because it was not fetched is no change. Without `outputs`, neither is an input that another
    stage wrote, such as a metrics file.
    """
    made = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    status = json.loads(output(root, "dvc", "status", "--json"))
    found = []
    for name, changes in status.items():
        if not isinstance(changes, list):
            continue
        reasons = []
        for change in changes:
            if isinstance(change, str):
                reasons.append(change)
                continue
            for path, how in change.get("changed deps", {}).items():
                if isinstance(how, dict):
                    reasons += changed_params(root, path, stages.get(name, {}))
                elif path in made and not outputs:
                    continue
                elif how != "deleted" or path.endswith(".py"):  # code is never fetched
                    reasons.append(f"{path} is {how}")
        if reasons:
            found.append(Stale(name, " and ".join(reasons)))
    return found


def changed_params(root: Path, path: str, stage: dict[str, Any]) -> list[str]:
    """The params of `stage` that differ from dvc.lock, each as `key changed from old to new`."""
    now = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    reasons = []
    for key, old in stage.get("params", {}).get(path, {}).items():
        new: Any = now
        for part in key.split("."):
            new = new.get(part) if isinstance(new, dict) else None
        before, after = _leaves(old, key), _leaves(new, key)
        for leaf in sorted(before.keys() | after.keys()):
            was, became = (values.get(leaf, "absent") for values in (before, after))
            if was != became:
                reasons.append(f"{leaf} changed from {was} to {became}")
    return reasons or [f"{path} changed"]


def _leaves(value: Any, key: str) -> dict[str, str]:
    if isinstance(value, dict):
        return {leaf: text for name, below in value.items() for leaf, text in _leaves(below, f"{key}.{name}").items()}
    return {key: str(value)}
