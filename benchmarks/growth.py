"""What audit, split and preprocess cost at 10,000, at 100,000 and at 1,000,000 photos."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generated import SIDE, finish, set_up, start, write_photos
from benchmarks.memory import peak
from benchmarks.results import Section
from florafauna.base.cores import usable_cores

COUNTS = (10_000, 100_000, 1_000_000)
ONE_CORE = COUNTS[1]  # the count that is done on one core, too
FURTHER = ("a further photo, first to second", "second to third")
STAGES = ("split", "preprocess")
# What a stage leaves on the disk, and what lets it do less the next time
WRITES = {"split": ("data", ".florafauna/audit"), "preprocess": ("data/processed",)}
ABOUT = f"""The stages split (audit, clusters of duplicates, groups, split, manifest) and preprocess, started as DVC
starts them, on different JPEGs of {SIDE} px in 20 classes; nothing is known of them from an earlier run. Photos this
small are the worst case: what does not grow with the photos' size is all there is. Each count is done once.

Memory is the highest sum over the stage's process and all that it starts, as in the section Memory. Disk is what the
stage writes, with what the audit remembers for the next run. "A further photo" is the difference between two counts
over the photos between them: where it is no more between the second two, the stage grows no faster than the photos.
"Times more" compares the last two. The last column is the time for {ONE_CORE:,} photos on one of the cores."""


@dataclass(frozen=True)
class Cost:
    """What one run of a stage took: seconds, bytes of memory and bytes on the disk."""

    seconds: float
    memory: int
    disk: int


def run() -> Section:
    """All counts, one after another, and one of them again on one core."""
    costs, alone, cores = {}, {}, os.sched_getaffinity(0)
    for count in COUNTS:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            write_photos(root / "photos", count)
            print(f"growth: {count:,} photos are drawn", flush=True)
            costs[count] = _costs(root, count)
            if count == ONE_CORE:
                os.sched_setaffinity(0, {min(cores)})
                alone = _costs(root, count)
                os.sched_setaffinity(0, cores)
    rows = [row for stage in STAGES for row in _rows(stage, [costs[count][stage] for count in COUNTS], alone[stage])]
    counts = [f"{count:,} photos" for count in COUNTS]
    return Section("Growth", ABOUT, ("stage", "what", *counts, *FURTHER, "times more", "on one core"), rows)


def _costs(root: Path, count: int) -> dict[str, Cost]:
    """What each stage costs in a new project on the photos in `root`."""
    project, costs = root / "project", {}
    set_up(project, root / "photos")
    for stage in STAGES:
        began = time.monotonic()
        process = start(project, stage)
        memory = peak(process)
        finish(project, stage, process)
        seconds = time.monotonic() - began
        costs[stage] = Cost(seconds, memory, sum(_size(project / name) for name in WRITES[stage]))
        print(f"growth: {count:,} photos on {usable_cores()} cores, {stage}: {costs[stage]}", flush=True)
    shutil.rmtree(project)
    return costs


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _rows(stage: str, costs: list[Cost], alone: Cost) -> list[tuple[str, ...]]:
    """Time, memory and disk of a stage at each of COUNTS."""
    return [
        _row(stage, "time", [cost.seconds for cost in costs], "{:,.1f} s", 1e3, "{:.3f} ms", f"{alone.seconds:,.1f} s"),
        _row(stage, "memory", [cost.memory / 1e6 for cost in costs], "{:,.0f} MB", 1e6, "{:,.0f} B"),
        _row(stage, "disk", [cost.disk / 1e6 for cost in costs], "{:,.0f} MB", 1e6, "{:,.0f} B"),
    ]


def _row(
    stage: str, what: str, found: list[float], form: str, small: float, small_form: str, alone: str = ""
) -> tuple[str, ...]:
    """`form` is how a value is written, `small_form` how what `small` times as much a photo is."""
    further = [
        small_form.format(small * (found[at + 1] - found[at]) / (COUNTS[at + 1] - COUNTS[at])) for at in range(2)
    ]
    return stage, what, *(form.format(value) for value in found), *further, f"**{found[2] / found[1]:.2f}×**", alone
