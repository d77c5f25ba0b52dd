"""What a killed training resumes from: its whole state, as safetensors outside the stage's outs, never pickled."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from florafauna.base.files import fingerprint, sha256_bytes, sha256_file, write_atomic


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

    @property
    def scores(self) -> list[float]:
        """Validation weighted F1 of every epoch so far."""
        return [row.val_weighted_f1 for row in self.history]


def run_key(params: Mapping[str, Any], initial: Path, indexes: list[Path]) -> str:
    """Names a training by its params, initial weights, photos, code and torch version: equal keys end equal."""
    code = {
        name: sha256_bytes(Path(str(module.__file__)).read_bytes())
        for name, module in sorted(sys.modules.items())
        if name.startswith("florafauna") and getattr(module, "__file__", None)
    }
    data = [sha256_file(path) for path in indexes]
    return fingerprint([dict(params), sha256_file(initial), data, code, torch.__version__, torch.get_num_threads()])


def save_state(
    path: Path,
    state: State,
    moving: Mapping[str, torch.Tensor],
    average: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write everything that changes during training to `path`, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in moving.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in values.items() if value is not None}
    metadata = {"state": json.dumps(asdict(state)), "scaler": json.dumps(scaler.state_dict())}
    write_atomic(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata))


def load_state(
    path: Path,
    model: nn.Module,
    average: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> State:
    """Restore what `save_state` wrote into model, average, optimizer and scaler; a fresh state if nothing was saved."""
    if not path.is_file():
        return State()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    model.load_state_dict(_under("model.", tensors), strict=False)
    for name, tensor in _under("average.", tensors).items():
        average[name].copy_(tensor)
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = tensor.clone()  # not mapped: Windows keeps a file that is
    optimizer.load_state_dict(optimizer.state_dict() | {"state": entries})
    scaler.load_state_dict(json.loads(metadata["scaler"]))
    saved = json.loads(metadata["state"])
    return State(**saved | {"history": [Epoch(**row) for row in saved["history"]]})


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
