"""Where training views are made: on the CPU unless the GPU is asked for, or `augment.device: auto` finds it faster."""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from florafauna.crops import unsupported
from florafauna.errors import UserError
from florafauna.feeds import Photos
from florafauna.files import write_json
from florafauna.models import set_training_modes

WARM_UP, TIMED = 3, 20  # batches


def views_on_device(photos: Photos, model: nn.Module, remembered: Path) -> tuple[bool, str]:
    """Whether the GPU makes the views, and a remark for the log (empty for the CPU by default).

    The two ways differ by rounding, so only `auto` lets a result depend on timing; what it chose is kept in
    `remembered`, so that a run that was killed goes on in the same way. Raises `UserError` where `gpu` cannot be had.
    """
    device = photos.params.augment.device
    if device == "cpu":
        return False, ""
    missing = sorted(unsupported(photos.train_view))
    if device == "gpu":
        if not photos.compute.on_gpu:
            raise UserError("augment.device: gpu needs a GPU and there is none here; use cpu or auto.")
        if missing:
            raise UserError(
                f"augment.device: gpu cannot do {', '.join(missing)} of rand_augment: "
                f"{photos.params.augment.rand_augment}; use cpu, or another policy."
            )
        return True, "views are made on the GPU"
    if not photos.compute.on_gpu:
        return False, "augment.device: auto makes the views on the CPU, for there is no GPU"
    if missing:
        return False, f"augment.device: auto makes the views on the CPU; the GPU cannot do {', '.join(missing)}"
    if remembered.is_file():
        kept = json.loads(remembered.read_text(encoding="utf-8"))
    else:
        cpu, gpu = rates(photos, model)
        kept = {"on_device": gpu > cpu, "cpu": round(cpu, 1), "gpu": round(gpu, 1)}
        write_json(remembered, kept)
    where = "GPU" if kept["on_device"] else "CPU"
    return bool(kept["on_device"]), (
        f"augment.device: auto makes the views on the {where}: {kept['gpu']} photos/s in training with the GPU's, "
        f"{kept['cpu']} with the CPU's"
    )


def rates(photos: Photos, model: nn.Module) -> tuple[float, float]:
    """Photos/s through the model with views made on the CPU, and with views made on the device.

    A copy of the model does what training will: forward and backward, or forward alone where a prefix is remembered.
    """
    trial = copy.deepcopy(model)
    learns = not photos.params.views
    if learns:
        set_training_modes(trial)
    else:
        trial.eval()

    def work(images: torch.Tensor) -> None:
        with torch.set_grad_enabled(learns), photos.compute.autocast():
            logits = trial(images)
        if learns:
            logits.float().square().mean().backward()
            trial.zero_grad(set_to_none=True)

    order = np.resize(np.arange(len(photos.train)), (WARM_UP + TIMED) * photos.batch_size)
    for row in np.unique(order):
        photos.train.photo(row).sum()  # from the disk into memory, so that neither way waits for it
    cpu, gpu = (_rate(replace(photos, on_device=on_device), order, work) for on_device in (False, True))
    return cpu, gpu


def _rate(photos: Photos, order: np.ndarray, work: Callable[[torch.Tensor], None]) -> float:
    start = 0.0
    for number, (images, _) in enumerate(photos.drawn_images(order, photos.batch_size, 0)):
        if number == WARM_UP:
            _wait(photos)
            start = time.perf_counter()
        work(images)
    _wait(photos)
    return TIMED * photos.batch_size / (time.perf_counter() - start)


def _wait(photos: Photos) -> None:
    if photos.compute.on_gpu:
        torch.cuda.synchronize()
