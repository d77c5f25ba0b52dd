"""What DVC takes for 20,000 files, and for the same files in 20 archives."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.real_photos import REPOSITORY, command
from benchmarks.results import Section
from benchmarks.timing import Pairs, in_turn, median_seconds

FILES, ARCHIVES, FOLDERS = 20_000, 20, 20
BYTES = 10_000
RUNS = 3
STAGE = """\
stages:
  list:
    cmd: ls data > list.txt
    deps: [data]
    outs: [list.txt: {cache: false}]
"""
STEPS: dict[str, tuple[str, ...]] = {
    "`dvc add data`": ("add", "data"),
    "`dvc push` to a folder": ("push",),
    "`dvc repro` of a stage that depends on it": ("repro",),
    "`dvc repro`, nothing changed": ("repro",),
    "`dvc add data`, nothing changed": ("add", "data"),
    "`dvc status`, nothing changed": ("status",),
    "`dvc push`, nothing changed": ("push",),
    "`dvc status --cloud`, nothing changed": ("status", "--cloud"),
}
ABOUT = f"""{FILES:,} files of {BYTES:,} random bytes in {FOLDERS} folders (DVC does not look into photos), and the
same in {ARCHIVES} archives by `docs/pack.sh`, each in a project of its own (`dvc init --no-scm`) with a remote that is
a folder on the same disk. The steps follow each other, all {RUNS} times anew and the two in turn. The last column is
the time with files over that with archives."""


def run() -> Section:
    """All steps with both, in turn."""
    seconds: dict[str, tuple[list[float], list[float]]] = {step: ([], []) for step in STEPS}
    with TemporaryDirectory() as name:
        files, archives = Path(name) / "files", Path(name) / "archives"
        _write(files)
        command(REPOSITORY, "bash", "docs/pack.sh", str(files), f"{archives}/part-", str(FILES // ARCHIVES))
        for _ in range(RUNS):
            ways = [_project(data) for data in (files, archives)]
            for step, words in STEPS.items():
                taken = in_turn([partial(way, *words) for way in ways], 1)
                for each, (once,) in zip(seconds[step], taken, strict=True):
                    each.append(once)
    rows = [(step, *map(median_seconds, both), Pairs(*both).ratio) for step, both in seconds.items()]
    columns = ("step", f"{FILES:,} files", f"{ARCHIVES} archives", "times the time")
    return Section("Packing", ABOUT, columns, rows)


def _write(root: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(FILES):
        file = root / f"class{number % FOLDERS:02d}/{number:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(draw.bytes(BYTES))


def _project(data: Path) -> Callable[..., None]:
    """`dvc` in a new project with a copy of `data`, and a stage that depends on it."""
    root = data.with_name(f"{data.name}-project")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(data, root / "data")
    (root / "dvc.yaml").write_text(STAGE, encoding="utf-8")
    for words in (("init", "--no-scm"), ("remote", "add", "--default", "disk", f"{root}/remote")):
        command(root, "dvc", "--quiet", *words)
    return partial(command, root, "dvc")
