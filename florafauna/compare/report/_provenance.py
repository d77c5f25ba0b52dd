"""What the results were computed from: commit, DVC's hashes, params and versions."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from florafauna.base.errors import UserError
from florafauna.compare._classifiers import Findings

PACKAGES = ("florafauna", "numpy", "pandas", "scikit-learn", "scipy")  # that scores depend on
COMPARE = "compare"  # the stage that writes the report: its entry in dvc.lock is that of the previous run
INPUTS = ("florafauna", "stages", "dvc.yaml", "params.yaml")  # in addition to those in dvc.lock


@dataclass(frozen=True)
class Tracked:
    """A file or folder in dvc.lock: the stage that wrote it, path, hash and bytes."""

    stage: str
    path: str
    hash: str
    size: int | None


@dataclass(frozen=True)
class Provenance:
    """`commit` is empty if unknown; `changed` says that code, params or data differ from it.

    `params` is YAML; `versions` are those of the packages that computed the scores.
    """

    commit: str
    changed: bool
    tracked: list[Tracked]
    params: str
    versions: dict[str, str]


def provenance(findings: Findings, root: Path) -> Provenance:
    """The provenance of the results below `root`; what is absent (no git, no dvc.lock yet) is left out."""
    read, tracked = _locked(root / "dvc.lock")
    params = {
        "evaluate": findings.params.model_dump(mode="json"),
        "models": {each.name: each.bundle["params"] for each in findings.models},
    }
    text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True, width=120)
    changed = _changed(root, read, [each.path for each in tracked])
    return Provenance(_commit(root), changed, tracked, text, _versions())


def _commit(root: Path) -> str:
    """The hash of the checked-out commit; empty if `root` is not in a repository or has no commit."""
    return _git(root, "rev-parse", "--verify", "--quiet", "HEAD").strip()


def _changed(root: Path, read: Sequence[str], written: Sequence[str]) -> bool:
    """Whether the pipeline's inputs differ from the commit; what it writes itself does not count."""
    others = [f":(exclude){path}" for path in (*written, "**/.gitignore")]
    return bool(_git(root, "status", "--porcelain", "--", *INPUTS, *read, *others))


def _git(root: Path, *words: str) -> str:
    try:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _locked(lock: Path) -> tuple[list[str], list[Tracked]]:
    """The paths that the stages before this one read, and what they wrote."""
    if not lock.is_file():
        return [], []
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
        before = {stage: entry for stage, entry in stages.items() if stage != COMPARE}
        read = sorted({dep["path"] for entry in before.values() for dep in entry.get("deps", [])})
        return read, [
            Tracked(stage, out["path"], out.get("md5") or out.get("etag") or "", out.get("size"))
            for stage, entry in before.items()
            for out in entry.get("outs", [])
        ]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{lock} cannot be read ({error}); run `git checkout {lock.name}`.") from None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a plain checkout
            continue
    return found
