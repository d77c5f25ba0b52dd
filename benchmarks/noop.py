"""`dvc repro` where nothing changed, against the same in a DVC project with as many stages that do nothing."""

import shutil
import statistics
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.real_photos import REPOSITORY, command, programs, set_up
from benchmarks.results import Section
from benchmarks.timing import in_turn

RUNS = 11
ABOUT = """`dvc repro` on the embedded sample after a run of everything, and in a project of {stages} stages in a chain,
each of which copies a one-line file. Both are git repositories with all of it committed; the stages do not run.
What is above 1 is for what the stages declare ({lines} dependencies, outputs and params here): DVC parses dvc.lock and
dvc.yaml twice and looks each of them up.
The last column is florafauna's time over the other's: lower is better."""


def run() -> Section:
    """Both in turn, after one of each that is not counted."""
    with TemporaryDirectory() as name:
        ours, empty = Path(name) / "florafauna", Path(name) / "empty"
        _sample(ours)
        stages = len(_output(ours, "dvc", "stage", "list", "--name-only").split())
        empty_project(empty, stages)
        for root in (ours, empty):
            repro(root)
        lines = declared(ours)
        seconds = in_turn((lambda: repro(empty), lambda: repro(ours)), RUNS)
    ratios = [own / bare for bare, own in zip(*seconds, strict=True)]
    row = (
        f"dvc repro, nothing changed, {stages} stages",
        *(f"{statistics.median(each):.2f} s" for each in seconds),
        f"**{statistics.median(ratios):.2f}×** ({min(ratios):.2f} to {max(ratios):.2f})",
    )
    columns = ("what", "empty project", "florafauna", "times as long")
    return Section("No-op", ABOUT.format(stages=stages, lines=lines), columns, [row])


def empty_project(root: Path, stages: int) -> None:
    """A chain of stages that copy a file; it has run."""
    root.mkdir()
    (root / "0.txt").write_text("nothing\n")
    chain = {
        f"stage{number}": {
            "cmd": f"cp {number}.txt {number + 1}.txt",
            "deps": [f"{number}.txt"],
            "outs": [f"{number + 1}.txt"],
        }
        for number in range(stages)
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": chain}))
    command(root, "git", "init", "-q")
    command(root, "dvc", "init", "-q")
    command(root, "dvc", "repro", "-q")
    _commit(root)


def repro(root: Path) -> None:
    """`dvc repro`; `RuntimeError` where it ran a stage."""
    if "Running stage" in _output(root, "dvc", "repro"):
        raise RuntimeError(f"dvc repro in {root.name} was no no-op")


def declared(root: Path) -> int:
    """How many files, folders and params dvc.lock remembers."""
    stages = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    params = [len(keys) for stage in stages for keys in stage.get("params", {}).values()]
    return sum(len(stage.get(part, [])) for stage in stages for part in ("deps", "outs")) + sum(params)


def _sample(root: Path) -> None:
    """The repository's own sample, with everything run."""
    set_up(root, yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8")))
    for folder in ("data/sample", "data/weights"):
        shutil.copytree(REPOSITORY / folder, root / folder, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / ".gitignore", root)
    command(root, "dvc", "repro")
    _commit(root)


def _commit(root: Path) -> None:
    command(root, "dvc", "config", "core.analytics", "false")  # as in this repository; else a process reports each run
    command(root, "git", "add", "-A")
    command(root, "git", "-c", "user.name=benchmark", "-c", "user.email=@", "commit", "-q", "-m", "all of it")


def _output(root: Path, *words: str) -> str:
    return subprocess.run(words, cwd=root, env=programs(), check=True, capture_output=True, text=True).stdout
