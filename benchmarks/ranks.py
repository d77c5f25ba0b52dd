"""One training shared by two processes of one core each, against one process: what is won, and what talking costs."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmarks.head_only import stores
from benchmarks.photos import draw_folder
from benchmarks.processes import Timed, epochs_of
from benchmarks.results import Section
from benchmarks.timing import Pairs
from benchmarks.training_parts import job
from florafauna.base.cores import usable_cores
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.training.job import TrainingJob

ABOUT = """An epoch of florafauna's training loop (`train_epoch`) on {photos} drawn photos at {size} px, in fp32 and
batches of {batch}, AdamW, random weights, by processes of one thread, each on a core of its own. *One* process; *two*
that share the training, as `FLORAFAUNA_GPUS=2` starts them, over gloo on this machine, with no network between; and
two *apart*: each with half of the photos in batches of half the size, which is the same arithmetic (batch norms are
written out as they are for several processes on a CPU) without a word between them. The three in turn, {rounds} times;
an epoch takes the median over all, of which the first of a start does not count. Faster: than one process, where 2 is
ideal; so much faster would be without talking what the machine gives to two apart. Talking: the share of the time of
two that is gone apart: all-reducing gradients, batch statistics and the loss's share, and waiting for each other in
it. Gradients: what each step all-reduces."""
COLUMNS = ("", "gradients", "one", "two", "faster, of 2", "apart", "faster, of 2", "talking")


@dataclass(frozen=True)
class Sizes:
    """How much is done. `longer`: how many more epochs are timed where they are short."""

    photos: int = 256
    size: int = 96
    batch: int = 64
    rounds: int = 3
    epochs: int = 3
    longer: int = 5


CASES: dict[str, dict[str, Any]] = {
    "mobilenetv2_100 (52 batch norms), all layers": {"architecture": {"name": "mobilenetv2_100.ra_in1k"}},
    "vit_tiny_patch16_224, all layers": {"architecture": {"name": "vit_tiny_patch16_224.augreg_in21k"}},
    "vit_tiny_patch16_224, last block, behind the frozen prefix": {
        "architecture": {"name": "vit_tiny_patch16_224.augreg_in21k"},
        "trainable": ["blocks.11", "norm", "head"],
        "views": 1,
    },
}


def run() -> Section:
    """Each case by one process, by two, and by two that do not talk."""
    if usable_cores() < 2:
        raise RuntimeError("two processes of one core each need two cores")
    sizes = Sizes()
    about = ABOUT.format(photos=sizes.photos, size=sizes.size, batch=sizes.batch, rounds=sizes.rounds)
    return Section("One training by two processes", about, COLUMNS, measure(CASES, sizes))


def measure(cases: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> list[tuple[str, ...]]:
    """A row a case, of params that differ."""
    epochs = [sizes.epochs * (sizes.longer if "views" in params else 1) for params in cases.values()]
    with TemporaryDirectory() as name:
        root = Path(name)
        manifest = draw_folder(root / "photos", 400, 300, 16, sizes.photos)
        stores(_with_val(manifest), root / "photos", root / "whole")
        stores(_with_val(manifest[::2]), root / "photos", root / "half")
        whole = [_job(params, sizes, root, "whole", sizes.batch) for params in cases.values()]
        half = [_job(params, sizes, root, "half", sizes.batch // 2) for params in cases.values()]
        one, two, apart = list[list[Timed]](), list[list[Timed]](), list[list[Timed]]()
        for number in range(sizes.rounds):
            one.append(epochs_of(whole, epochs, 1, root / f"one-{number}", one_core=True))
            two.append(epochs_of(whole, epochs, 2, root / f"two-{number}", one_core=True))
            apart.append(epochs_of(half, epochs, 2, root / f"apart-{number}", together=False, one_core=True))
    return [
        _row(*of_case) for of_case in zip(cases, *(zip(*way, strict=True) for way in (one, two, apart)), strict=True)
    ]


def _with_val(manifest: pd.DataFrame) -> pd.DataFrame:
    """All photos are trained on; a few are shown again for validation, which is not timed."""
    return pd.concat([manifest.assign(split="train"), manifest[:2].assign(split="val")], ignore_index=True)


def _job(params: Mapping[str, Any], sizes: Sizes, root: Path, store: str, batch: int) -> TrainingJob:
    shared = {"weights": {"source": "none"}, "trainable": "all", "rate": 1e-4, "precision": "fp32"}
    chosen = {"batch_size": batch, "train_size": sizes.size, "test_size": sizes.size, "epochs": 1000}
    model = ModelParams.model_validate(shared | chosen | dict(params))
    initial = root / f"{model.architecture.name}.safetensors"
    if not initial.exists():
        make_initial_weights(model.architecture, model.weights, initial)
    return job(model, root / store, initial, root)


def _row(case: str, one: Sequence[Timed], two: Sequence[Timed], apart: Sequence[Timed]) -> tuple[str, ...]:
    alone, shared, silent = ([statistics.median(each.seconds) for each in way] for way in (one, two, apart))
    talking = [1 - without / with_ for without, with_ in zip(silent, shared, strict=True)]
    return (
        case,
        f"{two[0].megabytes:.1f} MB",
        _median(one),
        _median(two),
        Pairs(alone, shared).ratio,
        _median(apart),
        Pairs(alone, silent).ratio,
        f"**{statistics.median(talking):.0%}** ({min(talking):.0%} to {max(talking):.0%})",
    )


def _median(way: Sequence[Timed]) -> str:
    return f"{statistics.median(second for each in way for second in each.seconds):.2f} s"
