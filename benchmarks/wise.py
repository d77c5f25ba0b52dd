"""`wise: auto` after fine-tuning all layers of a network with batch norms, whose statistics are averaged or kept."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.results import Section
from benchmarks.shared import DATA, FEW, initial_weights, mobilenet, require_shared, split_and_store
from benchmarks.training_parts import job
from florafauna.base.metrics import weighted_f1
from florafauna.bundle.bundle import Bundle, load_trained, predict_logits
from florafauna.model.compute import choose
from florafauna.model.tensors import load_tensors
from florafauna.pixels.store import PixelStore
from florafauna.split.settings import SplitParams
from florafauna.training._resume import START
from florafauna.training._wise import GRID, mean_of
from florafauna.training.loop import train_once

MODEL, SIZE, STORE_SIZE, EPOCHS = "mobilenetv2_035", 96, 112, 6
SEEDS = range(5)
ABOUT = f"""{MODEL} in all layers at {SIZE} px, {EPOCHS} epochs of AdamW from the linear probe (`head_init: probe`), on
20 shared photos of each class. Weighted F1 on the validation photos, by which `wise: auto` chooses the share of the
fine-tuned weights, and on the test photos; mean ± standard deviation over {{seeds}} seeds. Kept: at every
share, the statistics of batch norms are those of fine-tuning, in place of their mean."""


def run() -> Section:
    """One training a seed; then all means."""
    require_shared()
    torch.set_num_threads(1)
    scores: dict[str, list[tuple[float, float, float]]] = {}
    with TemporaryDirectory() as name:
        root = Path(name)
        initial_weights(MODEL, root / "initial.safetensors")
        split_and_store(DATA, SplitParams(val=0.15, test=0.2), root / "shared", STORE_SIZE, FEW)
        for seed in SEEDS:
            values: dict[str, Any] = {"rate": 1e-3, "epochs": EPOCHS, "batch_size": 32, "train_size": SIZE}
            values |= {"augment": {"scale": [0.4, 1.0]}, "seed": seed}
            model = mobilenet(MODEL, trainable="all", head_init="probe", wise="auto", **values)
            work = job(model, root / "shared/store", root / "initial.safetensors", root / f"scratch-{seed}")
            _, folder = train_once(work)  # which leaves what it would resume from
            for row, result in means(load_trained(work.out), folder, root / "shared/store").items():
                scores.setdefault(row, []).append(result)
    rows = []
    for row, each in scores.items():
        columns = list(zip(*each, strict=True))
        cells = [f"{statistics.mean(column):.3f} ± {statistics.stdev(column):.3f}" for column in columns[1:]]
        rows.append((row, f"{statistics.mean(columns[0]):.2f}", *cells))
    titles = ("fine-tuned weights", "their share", "validation", "test")
    return Section("The mean with the start", ABOUT.format(seeds=len(SEEDS)), titles, rows)


def means(bundle: Bundle, folder: Path, store: Path) -> dict[str, tuple[float, float, float]]:
    """Share, validation and test score of both ends and of both ways to choose between them."""
    (best,) = folder.glob("best-*.safetensors")
    start, end = load_tensors(folder / START)[0], load_tensors(best)[0]
    weights = dict(bundle.model.named_parameters())
    kept = {name: tensor if name in weights else end[name] for name, tensor in start.items()}

    def score(first: Mapping[str, torch.Tensor], share: float, split: str) -> float:
        bundle.model.load_state_dict(mean_of(first, end, share), strict=False)
        photos = PixelStore(store / split)
        return weighted_f1(photos.targets, predict_logits(bundle, photos, choose("fp32"), as_trained=True).argmax(1))

    def chosen(first: Mapping[str, torch.Tensor], shares: Sequence[float]) -> tuple[float, float, float]:
        val = {share: score(first, share, "val") for share in shares}
        share = max(val, key=lambda each: (val[each], each))
        return share, val[share], score(first, share, "test")

    return {
        "none: the probe": chosen(start, [0.0]),
        "alone": chosen(start, [1.0]),
        "`wise: auto`": chosen(start, GRID),
        "the same, statistics kept": chosen(kept, GRID),
    }
