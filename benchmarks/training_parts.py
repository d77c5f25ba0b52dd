"""The pipeline's own training loop around a feed of one's choice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from florafauna.model.compute import choose
from florafauna.model.settings import ModelParams
from florafauna.model.weights import load_initial_weights
from florafauna.pixels.store import PixelStore
from florafauna.training._feeds import Feed, Photos
from florafauna.training._loss import loss_of
from florafauna.training._parallel import with_common_batch_norms
from florafauna.training._parts import Parts
from florafauna.training.job import TrainingJob
from florafauna.training.loop import OPTIMIZERS
from florafauna.training.trainable import build, data_config, freeze, made_for_size, parameter_groups


def job(params: ModelParams, store: Path, initial: Path, scratch: Path) -> TrainingJob:
    """A training of the photos in `store`/train and /val, as the train stage has it."""
    return TrainingJob(
        "model", params, initial, store / "train", store / "val", scratch, scratch / "bundle", scratch / "timing.json"
    )


def parts_of(job: TrainingJob, feed_of: Callable[[Photos, nn.Module], Feed]) -> Parts:
    """What `fit` and `train_epoch` work with, made as the train stage makes it."""
    initial = load_initial_weights(job.initial)
    job = replace(job, params=made_for_size(job.params, initial.overlay))
    params, compute = job.params, choose(job.params.precision)
    train_store, val_store = PixelStore(job.train), PixelStore(job.val)
    model = build(params, initial.tensors, initial.overlay, len(train_store.labels))
    freeze(model, params.trainable, params.norms)
    groups = parameter_groups(model, params)
    model = with_common_batch_norms(compute.place(model))
    photos = Photos(train_store, val_store, params, data_config(model, params), compute)
    return Parts(
        job=job,
        model=model,
        feed=feed_of(photos, model),
        compute=compute,
        optimizer=OPTIMIZERS[params.optimizer](groups, lr=params.rate, fused=compute.on_gpu),
        scaler=torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16"),
        average={},
        loss=loss_of(params, train_store, compute.device),
        folder=job.scratch / "state",
    )
