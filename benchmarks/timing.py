"""Paired timing, and the machine it was done on."""

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from florafauna.base.cores import usable_cores

PACKAGES = ("torch", "torchvision", "timm", "pillow", "numpy")


@dataclass(frozen=True)
class Pairs:
    """Seconds of two ways to do the same, run in turn so that both see the same state of the machine."""

    theirs: list[float]
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours was, pair by pair."""
        return [theirs / ours for theirs, ours in zip(self.theirs, self.ours, strict=True)]

    @property
    def ratio(self) -> str:
        """Median, lowest and highest ratio, as RESULTS.md states them."""
        return f"**{statistics.median(self.ratios):.2f}×** ({min(self.ratios):.2f} to {max(self.ratios):.2f})"


def pairs(
    theirs: Callable[[], object],
    ours: Callable[[], object],
    runs: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Pairs:
    """Time both `runs` times in turn, after one run of each that does not count (caches, processes, lazy imports)."""
    theirs()
    ours()
    return Pairs(*in_turn((theirs, ours), runs, clock))


def in_turn(
    ways: Sequence[Callable[[], object]], runs: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Seconds of each of several ways, run `runs` times one after another so that all see the same machine."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(runs):
        for way, taken in zip(ways, seconds, strict=True):
            start = clock()
            way()
            taken.append(clock() - start)
    return seconds


def median_seconds(seconds: list[float]) -> str:
    """Median time."""
    return f"{statistics.median(seconds):.1f} s"


def per_second(count: int, seconds: list[float]) -> str:
    """Median rate."""
    return f"{count / statistics.median(seconds):,.0f}/s"


def machine() -> str:
    """Processor, cores, memory, GPU and versions on one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        f"{_processor()}, {usable_cores()} cores, {memory:.0f} GB",
        *_gpus(),
        f"Python {platform.python_version()}",
    ]
    return ", ".join(parts + [f"{package} {version(package)}" for package in PACKAGES])


def _processor() -> str:
    """The model by name or, where a virtual machine hides it, by its numbers."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, flags=re.MULTILINE))
    numbers = f"family {facts.get('cpu family')}, model {facts.get('model')}"
    return f"{facts.get('model name', platform.machine())} ({numbers})"


def _gpus() -> list[str]:
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.stdout.split("\n")[:-1]
