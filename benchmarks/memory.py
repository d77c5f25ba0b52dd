"""The memory of every stage at 10,000 and at 100,000 photos."""

import json
import os
import re
import shutil
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
GROWS = 1.1
STAGES: tuple[tuple[str, ...], ...] = (
    ("split",),
    ("preprocess",),
    *(("train", name) for name in MODELS),
    *(("folds", name) for name in MODELS),
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
costs, in all processes. Where a stage grows, `benchmarks/allocations.py` says what it holds."""


def run() -> Section:
    """Every stage once at each count; then, traced, those that grow."""
    rows, held = [], []
    with TemporaryDirectory() as folder:
        few_root, many_root = (Path(folder) / str(count) for count in COUNTS)
        few, many = (_stages(root, count) for root, count in zip((few_root, many_root), COUNTS, strict=True))
        for stage in STAGES:
            rows.append(_row(stage, *few[stage], *many[stage]))
            if many[stage][0] > GROWS * few[stage][0]:
                held.append(f"* {_name(stage)}: {_held(many_root / 'project', stage)}")
    photos = (f"{count:,} photos" for count in COUNTS)
    columns = ("stage", "imports", *photos, "times more", "a further photo", "time with sampling")
    profile = f"What the stages that grow by more than {GROWS} times hold at their highest, of {COUNTS[1]:,} photos:"
    about = "\n\n".join([ABOUT, profile, "\n".join(held)]) if held else ABOUT
    return Section("Memory", about, columns, rows)


def _name(stage: tuple[str, ...]) -> str:
    if stage[0] == "train":
        return f"train, {HOW[stage[1]]}"
    return " ".join(stage[:2] if len(stage) < 3 else stage[:1])


def _row(stage: tuple[str, ...], few: int, few_seconds: float, many: int, many_seconds: float) -> tuple[str, ...]:
    sizes = (f"{size / 1e6:,.0f} MB" for size in (_imports(stage[0]), few, many))
    further = (many - few) / (COUNTS[1] - COUNTS[0])
    times = f"{few_seconds:.0f} s, {many_seconds:.0f} s"
    return _name(stage), *sizes, f"**{many / few:.2f}×**", f"{further:,.0f} B", times


def _stages(root: Path, count: int) -> dict[tuple[str, ...], tuple[int, float]]:
    """Peak bytes and seconds of each stage, in `root`/project."""
    found = {}
    write_photos(root / "photos", count)
    set_up(root / "project", root / "photos")
    for name in MODELS:
        finish(root / "project", "weights", start(root / "project", "weights", name))
    for stage, *names in STAGES:
        began = time.monotonic()
        process = start(root / "project", stage, *names)
        highest = peak(process)
        finish(root / "project", stage, process)
        found[(stage, *names)] = highest, time.monotonic() - began
        print(f"memory: {count:,} photos, {stage} {' '.join(names)}: {highest / 1e6:.0f} MB", flush=True)
    return found


def _held(project: Path, stage: tuple[str, ...]) -> str:
    """What is held, in words; the stage is run again."""
    shutil.rmtree(project / ".florafauna", ignore_errors=True)
    out = project / "allocations.json"
    command = [sys.executable, "-m", "benchmarks.allocations", str(out), *stage]
    subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True)
    found = json.loads(out.read_text(encoding="utf-8"))
    lines = ", ".join(f"{size / 1e6:.0f} MB at {line}" for line, size in found["lines"])
    return f"{found['traced'] / 1e6:.0f} MB by Python and numpy ({lines}), up to {found['arrow'] / 1e6:.0f} MB by Arrow"


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


def peak(process: "subprocess.Popen[str]") -> int:
    """The highest sum of the memory of a process and all that it starts, in bytes, until it ends."""
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(_memory(pid) for pid in _tree(process.pid)))
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    return highest


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
