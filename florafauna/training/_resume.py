"""What a killed training resumes from: its whole state, as safetensors outside the stage's outs, never pickled.

The files carry checksums. A state that the disk has changed would train another model: it is dropped, and that is said.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from florafauna.base.code import code_hash
from florafauna.base.files import fingerprint, sha256_file
from florafauna.model.tensors import DamagedError, load_tensors, save_tensors

STATE = "state.safetensors"
COMPILING = "compiling.json"  # what compile: auto has decided
START = "start.safetensors"  # what training could change, before its first step; for params: wise


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv."""

    epoch: int  # from 1
    step: int  # optimizer steps so far
    lr: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_weighted_f1: float


@dataclass
class State:
    """How far the training has come. With the tensors saved beside it, all that a later step depends on."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches done in the epoch under way
    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0  # over the batches of the epoch under way
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0  # the one whose checkpoint is kept
    l2: float | None = None  # of the head that was solved for, or that training starts from

    @property
    def scores(self) -> list[float]:
        """Validation weighted F1 of every epoch so far."""
        return [row.val_weighted_f1 for row in self.history]

    @property
    def best(self) -> Epoch:
        """The epoch whose checkpoint is kept."""
        return self.history[self.best_epoch - 1]


def run_key(params: Mapping[str, Any], initial: Path, indexes: list[Path]) -> str:
    """Names a training by its params, initial weights, photos, code and libraries: equal keys end equal."""
    code = code_hash(*(f"florafauna.{room}" for room in ("base", "bundle", "model", "pixels", "training")))
    data = [sha256_file(path) for path in indexes]
    made_by = [code, torch.__version__, timm.__version__]
    return fingerprint([dict(params), sha256_file(initial), data, *made_by])


def best_file(folder: Path, epoch: int) -> Path:
    """The checkpoint of an epoch: another file than that of the best before, which the saved state still needs."""
    return folder / f"best-{epoch}.safetensors"


def drop_damaged(folder: Path) -> None:
    """Remove what a run has left if its state, start or best checkpoint is damaged; one line on stderr says so."""
    try:
        if (folder / STATE).is_file():
            _, metadata = load_tensors(folder / STATE)
            state = _state(metadata)
            kept = [best_file(folder, state.best.epoch)] if state.history else []
            for file in [*kept, *folder.glob(START)]:
                load_tensors(file)
    except DamagedError as error:
        print(f"training: {error} was damaged on disk: the training starts anew", file=sys.stderr, flush=True)
        shutil.rmtree(folder)


def save_state(
    folder: Path,
    state: State,
    moving: Mapping[str, torch.Tensor],
    average: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write everything that changes during training to `folder`, whole or not at all; drop former best checkpoints."""
    tensors = {f"model.{name}": tensor for name, tensor in moving.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in values.items() if value is not None}
    metadata = {"state": asdict(state), "scaler": scaler.state_dict()}
    save_tensors(folder / STATE, tensors, metadata)
    for file in folder.glob("best-*.safetensors"):
        if state.history and file != best_file(folder, state.best.epoch):
            file.unlink()


def load_state(
    folder: Path,
    model: nn.Module,
    average: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> State:
    """Restore what `save_state` wrote into model, average, optimizer and scaler; a fresh state if nothing was saved."""
    if not (folder / STATE).is_file():
        return State()
    tensors, metadata = load_tensors(folder / STATE)
    model.load_state_dict(_under("model.", tensors), strict=False)
    for name, tensor in _under("average.", tensors).items():
        average[name].copy_(tensor)
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = tensor.clone()  # not mapped: Windows keeps a file that is
    optimizer.load_state_dict(optimizer.state_dict() | {"state": entries})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if value.dim() and value.shape == parameter.shape:  # in its memory format, which fused steps ask for
                values[key] = torch.empty_like(parameter).copy_(value)
    scaler.load_state_dict(metadata["scaler"])
    return _state(metadata)


def _state(metadata: Mapping[str, Any]) -> State:
    saved = dict(metadata["state"])
    return State(**saved | {"history": [Epoch(**row) for row in saved["history"]]})


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
