"""What a stage holds in memory where it holds most: `python -m benchmarks.allocations OUT.json STAGE [NAME...]`.

Python's and numpy's memory by the line that asked for it (tracemalloc), and the highest that Arrow held, which is what
tables of text lie in.
"""

import json
import os
import runpy
import sys
import threading
import tracemalloc
from pathlib import Path

import pyarrow as pa

SECONDS_BETWEEN_SAMPLES = 0.1
GROWTH = 1.02  # a snapshot takes seconds: only at a peak this much above the last
LINES = 6


class Peak(threading.Thread):
    """Takes a snapshot at each new peak until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self.snapshot = tracemalloc.take_snapshot()
        self._over = threading.Event()

    def run(self) -> None:
        """Until `finish`."""
        while not self._over.wait(SECONDS_BETWEEN_SAMPLES):
            held, _ = tracemalloc.get_traced_memory()
            if held > GROWTH * self.bytes:
                self.bytes, self.snapshot = held, tracemalloc.take_snapshot()

    def finish(self) -> list[tuple[str, int]]:
        """The lines that hold most at the highest snapshot, and their bytes."""
        self._over.set()
        self.join()
        of_lines = self.snapshot.filter_traces([tracemalloc.Filter(False, "<frozen *>")]).statistics("lineno")
        return [(f"{_short(line.traceback[0].filename)}:{line.traceback[0].lineno}", line.size) for line in of_lines]


def _short(file: str) -> str:
    return file.rpartition("site-packages/")[2].removeprefix(f"{Path.cwd()}{os.sep}")


def main(out: str, stage: str, *names: str) -> None:
    """Run the stage as `python -m stages.STAGE NAME...` does, in this process and this folder."""
    sys.argv = [stage, *names]
    sys.path.insert(0, str(Path.cwd()))
    tracemalloc.start()
    peak = Peak()
    peak.start()
    runpy.run_module(f"stages.{stage}", run_name="__main__")
    lines = peak.finish()
    found = {"traced": peak.bytes, "arrow": pa.default_memory_pool().max_memory(), "lines": lines[:LINES]}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
