"""The memory of every stage at 10,000 and at 100,000 photos."""

import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generated import MODELS, REPOSITORY, SIDE, finish, set_up, start, write_photos
from benchmarks.results import Section

COUNTS = (10_000, 100_000)
SECONDS_BETWEEN_SAMPLES = 0.05
STAGES: tuple[tuple[str, ...], ...] = (
    ("split",),
    ("preprocess",),
    *(("train", name) for name in MODELS),
    *(("evaluate", name) for name in MODELS),
    ("compare", *MODELS),
)
HOW = {"efficientnet": "all layers", "convnext": "head alone, through the frozen prefix"}
ABOUT = f"""Each stage is started as DVC starts it, on different JPEGs of {SIDE} px in 20 classes; nothing is known
of them from an earlier run. The memory is the anonymous and shared memory of the stage's process and of all processes
that it starts (`Pss_Anon` and `Pss_Shmem` of /proc/PID/smaps_rollup, by which what a process shares with its child
counts once), read every {SECONDS_BETWEEN_SAMPLES * 1000:.0f} ms; stated is the highest sum. Files that are mapped or
cached do not count: their pages are given up when others need them. The interpreter and the libraries count: "imports"
is what the stage's process needs to import its code and do nothing, and the last column but one what each further photo
costs, in all processes."""


def run() -> Section:
    """Every stage once at each count."""
    found = {count: _stages(count) for count in COUNTS}
    rows = []
    for stage in STAGES:
        few, many = (found[count][stage] for count in COUNTS)
        name = (
            f"{stage[0]}, {HOW[stage[1]]}"
            if stage[0] == "train"
            else " ".join(stage[:2] if len(stage) < 3 else stage[:1])
        )
        further = (many[0] - few[0]) / (COUNTS[1] - COUNTS[0])
        times = f"{few[1]:.0f} s, {many[1]:.0f} s"
        sizes = (f"{size / 1e6:,.0f} MB" for size in (_imports(stage[0]), few[0], many[0]))
        rows.append((name, *sizes, f"**{many[0] / few[0]:.2f}×**", f"{further:,.0f} B", times))
    photos = (f"{count:,} photos" for count in COUNTS)
    columns = ("stage", "imports", *photos, "times more", "a further photo", "time with sampling")
    return Section("Memory", ABOUT, columns, rows)


def _stages(count: int) -> dict[tuple[str, ...], tuple[int, float]]:
    """Peak bytes and seconds of each stage."""
    found = {}
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_photos(root / "photos", count)
        set_up(root / "project", root / "photos")
        for name in MODELS:
            finish(root / "project", "weights", start(root / "project", "weights", name))
        for stage, *names in STAGES:
            began = time.monotonic()
            process = start(root / "project", stage, *names)
            peak = _peak(process)
            finish(root / "project", stage, process)
            found[(stage, *names)] = peak, time.monotonic() - began
            print(f"memory: {count:,} photos, {stage} {' '.join(names)}: {peak / 1e6:.0f} MB", flush=True)
    return found


def _imports(stage: str) -> int:
    """Bytes of a process that has imported what the stage imports first."""
    code = f"import stages.{stage}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        size = _memory(process.pid)
        process.stdin.write("\n")
    return size


def _peak(process: "subprocess.Popen[str]") -> int:
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_memory(pid) for pid in _tree(process.pid)))
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    return peak


def _tree(pid: int) -> list[int]:
    """A process and all that it started."""
    tree = [pid]
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            tree += [each for child in file.read_text(encoding="ascii").split() for each in _tree(int(child))]
    return tree


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):  # it has ended
        return 0
    return sum(int(size) for size in re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", text, re.MULTILINE)) * 1024
