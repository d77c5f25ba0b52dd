"""What audit, split and preprocess cost at 10,000 and at 100,000 photos."""

import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generated import SIDE, finish, set_up, start, write_photos
from benchmarks.results import Section

COUNTS = (10_000, 100_000)
RUNS = 5
STAGES = ("split", "preprocess")
ABOUT = f"""The stages split (audit, clusters of duplicates, groups, split, manifest) and preprocess, started as DVC
starts them, on different JPEGs of {SIDE} px in 20 classes; nothing is known of them from an earlier run. A tenth of the
photos and all of them are done in turn. Photos this small are the worst case: what does not grow with the
photos' size is all there is."""


def run() -> Section:
    """Both counts, in turn."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for count in COUNTS:
            write_photos(root / f"photos{count}", count)
        timed = [{count: _seconds(root, count) for count in COUNTS} for _ in range(RUNS)]
    few, many = COUNTS
    rows = []
    for name, stages in (("split", STAGES[:1]), ("preprocess", STAGES[1:]), ("both", STAGES)):
        costs = [{count: sum(run[count][stage] for stage in stages) for count in COUNTS} for run in timed]
        ratios = [cost[many] / cost[few] for cost in costs]
        ratio = f"**{statistics.median(ratios):.2f}×** ({min(ratios):.2f} to {max(ratios):.2f})"
        seconds = [f"{statistics.median(cost[count] for cost in costs):.1f} s" for count in COUNTS]
        rows.append((name, *seconds, ratio))
    columns = ("stage", *(f"{count:,} photos" for count in COUNTS), "times the time")
    return Section("Growth", ABOUT, columns, rows)


def _seconds(root: Path, count: int) -> dict[str, float]:
    project = root / "project"
    set_up(project, root / f"photos{count}")
    seconds = {}
    for stage in STAGES:
        began = time.monotonic()
        finish(project, stage, start(project, stage))
        seconds[stage] = time.monotonic() - began
    shutil.rmtree(project)
    return seconds
