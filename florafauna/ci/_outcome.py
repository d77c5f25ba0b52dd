"""The outcome of each step, kept in build/ci/ for the report, also after a failure."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from florafauna.base.files import write_json

FOLDER = Path("build/ci")
STEPS = ("pull", "scores", "repro", "drop")


@dataclass(frozen=True)
class Outcome:
    """A step, whether it passed, and its sentence."""

    step: str
    passed: bool
    sentence: str


def keep(outcome: Outcome, root: Path = Path()) -> None:
    """Write the outcome; the first step deletes those of the previous run."""
    if outcome.step == STEPS[0]:
        for step in STEPS:
            _file(step, root).unlink(missing_ok=True)
    write_json(_file(outcome.step, root), asdict(outcome))


def kept(root: Path = Path()) -> list[Outcome]:
    """The outcomes, in the order of the steps, of those that ran."""
    files = [_file(step, root) for step in STEPS]
    return [Outcome(**json.loads(file.read_text(encoding="utf-8"))) for file in files if file.is_file()]


def _file(step: str, root: Path) -> Path:
    return root / FOLDER / f"{step}.json"
