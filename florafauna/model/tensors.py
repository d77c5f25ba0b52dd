"""Tensors in a safetensors file that says when the disk has changed it: another model would come of that."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from florafauna.base.files import write_atomic

HEADER = "florafauna"  # one key of metadata, as safetensors writes several in any order
CHECKSUM = "checksum"  # of the tensors and of all other metadata


class DamagedError(Exception):
    """A file is not what was written; the message names it."""


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors and metadata (of JSON) with a checksum, whole or not at all; equal ones give equal bytes."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    told = dict(metadata or {})
    header = json.dumps(told | {CHECKSUM: _checksum(own, told)}, sort_keys=True)
    write_atomic(path, save(own, {HEADER: header}))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; `DamagedError` where it is not as it was."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = json.loads((file.metadata() or {}).get(HEADER, "{}"))
        tensors = load_file(path)
        if metadata.pop(CHECKSUM, None) == _checksum(tensors, metadata):
            return tensors, metadata
    except (OSError, SafetensorError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path} ({error})") from None
    raise DamagedError(f"{path} (its checksum differs)")


def _checksum(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> str:
    digest = sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
