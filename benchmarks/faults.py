"""Stages that are killed, interrupted or given damaged files, hundreds of times: what came of it."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.real_photos import REPOSITORY
from benchmarks.results import Section
from florafauna.base.errors import UserError

SEEDS = 4  # of each fault for each stage: a quarter of an hour on two cores
AT_ONCE = 2
ABOUT = """Faults drawn by seed, {seeds} of each kind for each stage of a small project (42 photos, three trainings of
three epochs), each in a copy of its own. *Killed*: by SIGKILL before a drawn file operation or at a drawn millisecond,
half of the time with nothing remembered. *Interrupted*: the same with SIGINT or SIGTERM, which have to end in one line.
*Cache*: a file below .florafauna, *input*: a file that the stage reads, *object*: its copy in DVC's cache, checked out
then; a bit is flipped, half is zeroed, the file is cut short, or a .DS_Store lies beside it. Afterwards the stage runs,
and all that it writes is held, byte by byte, against an unharmed run. Two plain texts are left out, as they carry no
checksum and only DVC's hash guards them: data/manifest.csv and history.csv of a training.
Anything but the two outcomes below (another result, a traceback, something half-written) ends the run with an error."""


def run() -> Section:
    """All faults on two cores; `UserError` with those that ended as none may."""
    sys.path.append(str(REPOSITORY / "tests"))
    faults = import_module("helpers.faults")
    bad: list[str] = []
    with TemporaryDirectory() as name:
        harm = faults.Harm(faults.make_project_to_harm(Path(name) / "unharmed/repository"))
        drawn = [
            (stage, fault, seed)
            for seed in range(SEEDS)
            for stage in harm.stages.values()
            for fault in faults.FAULTS
            if harm.has(stage, fault)
        ]

        def try_out(number: int) -> tuple[str, str]:
            stage, fault, seed = drawn[number]
            with TemporaryDirectory(dir=name) as folder:
                try:
                    return fault, harm.try_out(stage, fault, seed, Path(folder) / "repository")
                except faults.HarmError as error:
                    bad.append(str(error))
                    return fault, "bad"

        for stage in harm.stages.values():
            harm.measured(stage)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            counts = Counter(pool.map(try_out, range(len(drawn))))
    if bad:
        raise UserError(f"{len(bad)} of {len(drawn)} faults passed for right: {' | '.join(bad)}")
    outcomes = ("as unharmed", "one sentence", "DVC refuses")
    rows = [
        (fault, str(sum(counts[fault, how] for how in outcomes)), *(str(counts[fault, how]) for how in outcomes))
        for fault in faults.FAULTS
    ]
    columns = ("fault", "tried", "the same bytes", "one sentence, code 1", "refused by DVC")
    return Section("Faults", ABOUT.format(seeds=SEEDS), columns, rows)
