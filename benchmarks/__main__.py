"""Run benchmarks by name and write what they find to benchmarks/RESULTS.md."""

import sys
from importlib import import_module

from benchmarks.results import RESULTS, Section, write_section

NAMES = (
    "preprocess",
    "views",
    "audit",
    "duplicates",
    "memory",
    "growth",
    "packing",
    "on_paper",
    "head_only",
    "head_start",
    "long_tail",
    "wise",
    "tail",
    "repro",
    "noop",
    "beside",
    "ranks",
    "gpu",
    "presets",
    "predict",
    "boxes",
    "real_photos",
    "screening",
    "bursts",
    "folds",
    "wrong_labels",
    "sites",
    "faults",
    "promises",
    "calibration",
    "winner",
)


def main(names: list[str]) -> None:
    """Run `names` one after another; each is a module here with `run() -> Section`."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        sys.exit(f"usage: python -m benchmarks NAME...\nbenchmarks: {', '.join(NAMES)}")
    for name in names:
        section: Section = import_module(f"benchmarks.{name}").run()
        write_section(RESULTS, name, section)
        print(section.text(name))


if __name__ == "__main__":
    main(sys.argv[1:])
