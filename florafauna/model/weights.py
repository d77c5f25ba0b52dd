"""Initial weights: from timm's hub, a safetensors file or seeded random numbers, into one tracked safetensors file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.data import resolve_model_data_config

from florafauna.base.errors import OF_THE_SYSTEM, UserError
from florafauna.base.files import sha256_file
from florafauna.model.network import backbone_state, create, known_tags, load, try_out
from florafauna.model.settings import Architecture, Weights
from florafauna.model.tensors import DamagedError, load_tensors, save_tensors


@dataclass(frozen=True)
class InitialWeights:
    """The backbone's tensors by timm name, without a classifier, and where they come from."""

    tensors: dict[str, torch.Tensor]
    architecture: Architecture
    origin: dict[str, Any]  # source, name, sha256 of the file they were read from, licence, what they have seen
    overlay: dict[str, Any]  # replaces fields of timm's pretrained_cfg


def make_initial_weights(architecture: Architecture, weights: Weights, out: Path) -> InitialWeights:
    """Resolve `weights` for `architecture` and write them to `out`; random weights only where they are asked for.

    Raises `UserError` where the hub cannot be reached, a file is missing or does not fit the architecture.
    """
    origin: dict[str, Any] = {"source": weights.source}
    overlay = dict(weights.overlay)
    if weights.source == "none":
        torch.manual_seed(weights.seed)
        model = create(architecture, num_classes=0, overlay=overlay)
        origin |= {"seed": weights.seed}
    else:
        file = _hub_file(architecture) if weights.source == "hub" else Path(str(weights.file))
        _check_safetensors(file)
        origin |= {"name": architecture.name if weights.source == "hub" else file.name, "sha256": sha256_file(file)}
        create(architecture, num_classes=0, overlay=overlay)  # what timm refuses whatever the file holds
        model = load(architecture, _classes_in(file, architecture), overlay, file)
    size = architecture.arguments.get("img_size", resolve_model_data_config(model)["input_size"][-1])
    if isinstance(size, int):
        try_out(model, size, architecture.name)
    origin |= {"licence": weights.licence or _hub_licence(model, weights), "seen": weights.seen}
    initial = InitialWeights(backbone_state(model), architecture, origin, overlay)
    header = {"architecture": architecture.model_dump(), "origin": origin, "overlay": overlay}
    save_tensors(out, initial.tensors, header)
    return initial


def load_initial_weights(path: Path) -> InitialWeights:
    """Read what `make_initial_weights` wrote; `UserError` where the file is anything else, or was damaged."""
    try:
        tensors, header = load_tensors(path)
    except DamagedError as error:
        raise UserError(
            f"{error} does not hold initial weights as they were written; delete it and, if that does not help, DVC's "
            "copy (in .dvc/cache, below the md5 that dvc.lock says), and run `dvc repro`."
        ) from None
    return InitialWeights(tensors, Architecture(**header["architecture"]), header["origin"], header["overlay"])


def _check_safetensors(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"the weights file {file} is missing; put it there (and `dvc add` it if it is large).")
    try:
        with safe_open(file, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read as safetensors ({error}); download it again.") from None


def _classes_in(file: Path, architecture: Architecture) -> int:
    """How many classes the classifier in `file` tells apart; 0 for a backbone alone."""
    paths = getattr(timm.get_pretrained_cfg(architecture.name), "classifier", None) or ()
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
        for path in (paths,) if isinstance(paths, str) else paths:
            if f"{path}.weight" in names:
                return int(tensors.get_slice(f"{path}.weight").get_shape()[0])
    return 0


def _hub_file(architecture: Architecture) -> Path:
    """The safetensors file of a full timm tag, from the hub or its local cache. Pickled files are never asked for."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE

    name = architecture.name
    if name not in timm.list_pretrained(f"{name.partition('.')[0]}.*"):
        raise UserError(f"weights: hub needs a full timm tag, which '{name}' is not; {known_tags(name)}.")
    repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if not repository:
        raise UserError(f"the weights of {name} are not on the hub as safetensors; choose another tag or give a file.")
    try:
        return Path(hf_hub_download(repository, filename="model.safetensors"))
    except Exception as error:  # the hub's client raises a dozen unrelated classes for 'no network'
        if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM:  # a full disk, say, which no network mends
            error.filename = error.filename or HF_HUB_CACHE
            raise
        raise UserError(
            f"the weights of {name} could not be fetched from the hub ({type(error).__name__}): connect, or download "
            f"model.safetensors of '{repository}' elsewhere and give it as weights: data/weights/{name}.safetensors."
        ) from None


def _hub_licence(model: torch.nn.Module, weights: Weights) -> str | None:
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    return config.get("license") if weights.source == "hub" else None
