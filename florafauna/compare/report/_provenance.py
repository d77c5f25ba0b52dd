"""What the figures were made from: commit, DVC's hashes, weights, params, versions, hardware and durations."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.compare._results import Trained

PACKAGES = ("florafauna", "numpy", "pandas", "scikit-learn", "scipy")  # those that scores depend on


@dataclass(frozen=True)
class Tracked:
    """A file or folder in dvc.lock: the stage that made it, path, hash and bytes."""

    stage: str
    path: str
    hash: str
    size: int | None


@dataclass(frozen=True)
class Origin:
    """One model's bundle, and what training and prediction took."""

    name: str
    bundle: dict[str, Any]
    training: dict[str, Any]
    prediction: dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """`commit` and `params` are empty where they are not known; `versions` are those that scored."""

    commit: str
    tracked: list[Tracked]
    params: str
    origins: list[Origin]
    versions: dict[str, str]


def provenance(root: Path, models: "Sequence[Trained]") -> Provenance:
    """Gather it below `root`; what is absent (no git, no dvc.lock yet) is left out."""
    params = root / "params.yaml"
    origins = [Origin(each.name, _bundle(root, each.name), each.training, each.prediction) for each in models]
    text = params.read_text(encoding="utf-8") if params.is_file() else ""
    return Provenance(commit(root), _tracked(root / "dvc.lock"), text, origins, _versions())


def commit(root: Path) -> str:
    """The hash of the commit that is checked out; empty where `root` is in no repository or has no commit."""
    command = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _tracked(lock: Path) -> list[Tracked]:
    if not lock.is_file():
        return []
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
        return [
            Tracked(stage, out["path"], out.get("md5") or out.get("etag") or "", out.get("size"))
            for stage, entry in stages.items()
            for out in entry.get("outs", [])
        ]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{lock} cannot be read ({error}); run `git checkout {lock.name}`.") from None


def _bundle(root: Path, name: str) -> dict[str, Any]:
    file = root / f"models/{name}/bundle.json"
    return read_json(file, f"run `dvc pull {file.parent}` or `dvc repro`", f"run `dvc checkout {file.parent}`")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found
