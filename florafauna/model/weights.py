"""Initial weights: from the hub, a safetensors file or seeded random numbers, into one tracked safetensors file."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.data import resolve_model_data_config

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.model._hub import fetch
from florafauna.model._published import BESIDE, Published, beside, of_tag
from florafauna.model.network import backbone_state, create, known_tags, load, try_out
from florafauna.model.settings import Architecture, Weights
from florafauna.model.tensors import DamagedError, load_tensors, save_tensors

WATCHED = Path("data/weights")
HUB_FILE = "model.safetensors"
# How OpenCLIP names the photos' half of a file, and the layers that make embeddings of features
IN_OPEN_CLIP = ("visual.trunk.", "visual.")
PROJECTIONS = ["visual.head.proj.weight", "visual.head.mlp.fc2.weight"]
TRANSPOSED = "visual.proj"


@dataclass(frozen=True)
class InitialWeights:
    """The backbone's tensors by timm name, without a classifier, and where they come from."""

    tensors: dict[str, torch.Tensor]
    architecture: Architecture
    origin: dict[str, Any]  # source, name, repository, revision, sha256 of the file that was read, licence, seen
    overlay: dict[str, Any]  # replaces fields of timm's pretrained_cfg


def make_initial_weights(architecture: Architecture, weights: Weights, out: Path) -> InitialWeights:
    """Resolve `weights` for `architecture` and write them to `out`; random weights only where they are asked for.

    Raises `UserError` where the hub cannot be reached, a file is missing or does not fit the architecture, or where
    what is published beside it says that the architecture would compute something else.
    """
    origin: dict[str, Any] = {"source": weights.source}
    published = Published()
    if weights.source == "none":
        torch.manual_seed(weights.seed)
        model = create(architecture, num_classes=0, overlay=weights.overlay)
        origin |= {"seed": weights.seed}
    else:
        published = of_tag(_own_tag(architecture)) if _of_timms_hub(weights) else Published()
        plain = create(
            architecture, num_classes=0, overlay=weights.overlay
        )  # what timm refuses whatever the file holds
        _refuse_another_network(architecture, plain, published)  # before it is downloaded
        file, name = _find(architecture, weights)
        _check_safetensors(file)
        if not _of_timms_hub(weights):
            published = _published(weights, file)
            _refuse_another_network(architecture, plain, published)
        origin |= name | {"sha256": sha256_file(file)}
        model = load(architecture, _classes_in(file, architecture), published.overlay | weights.overlay, file)
    overlay = published.overlay | weights.overlay
    size = architecture.arguments.get("img_size", resolve_model_data_config(model)["input_size"][-1])
    if isinstance(size, int):
        try_out(model, size, architecture.name)
    if told := _normalisation(architecture, model, weights, published):
        print(told, flush=True)
    origin |= {"licence": weights.licence or published.licence, "seen": weights.seen}
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
    """How many numbers the last layer in `file` answers with, classes or an embedding; 0 for a backbone alone."""
    paths = getattr(timm.get_pretrained_cfg(architecture.name), "classifier", None) or ()
    paths = (paths,) if isinstance(paths, str) else paths
    rows = [f"{prefix}{path}.weight" for path in paths for prefix in ("", *IN_OPEN_CLIP)] + PROJECTIONS
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
        for name in rows:
            if name in names:
                return int(tensors.get_slice(name).get_shape()[0])
        if TRANSPOSED in names:
            return int(tensors.get_slice(TRANSPOSED).get_shape()[1])
    return 0


def _of_timms_hub(weights: Weights) -> bool:
    return weights.source == "hub" and weights.hub is None


def _own_tag(architecture: Architecture) -> Any:
    """timm's `pretrained_cfg` of the tag in the architecture's name; `UserError` where it has no such tag."""
    name = architecture.name
    if name not in timm.list_pretrained(f"{name.partition('.')[0]}.*"):
        raise UserError(
            f"weights: hub needs a full timm tag, which '{name}' is not; {known_tags(name)}; weights: {{hub: "
            "OWNER/NAME} takes any other repository."
        )
    return timm.get_pretrained_cfg(name)


def _find(architecture: Architecture, weights: Weights) -> tuple[Path, dict[str, Any]]:
    """The file that `weights` mean, fetched where it is on the hub, and what names it."""
    if weights.source == "file":
        file = Path(str(weights.file))
        return file, {"name": file.name}
    if weights.hub is not None:
        name = weights.file or HUB_FILE
        keep_at = f"data/weights/{PurePosixPath(weights.hub).name}/{PurePosixPath(name).name}"
        file, commit = fetch(weights.hub, name, weights.revision, BESIDE, keep_at)
        return file, {"name": name, "repository": weights.hub, "revision": commit}
    name = architecture.name
    repository: str | None = getattr(_own_tag(architecture), "hf_hub_id", None)
    if not repository:
        raise UserError(f"the weights of {name} are not on the hub as safetensors; choose another tag or give a file.")
    file, commit = fetch(repository, HUB_FILE, weights.revision, (), f"data/weights/{name}.safetensors")
    return file, {"name": name, "repository": repository, "revision": commit}


def _published(weights: Weights, file: Path) -> Published:
    """What the files beside the weights say, in a repository or a folder of their own."""
    inside = PurePosixPath(weights.file or HUB_FILE)
    folder = file.parents[len(inside.parts) - 1] if weights.source == "hub" else file.parent
    if folder == WATCHED:  # where files of several models may lie side by side
        return Published()
    with safe_open(file, framework="pt") as tensors:
        return beside(folder, open_clip=any(name.startswith(IN_OPEN_CLIP) for name in tensors.keys()))  # noqa: SIM118


def _refuse_another_network(architecture: Architecture, model: torch.nn.Module, published: Published) -> None:
    """`UserError` where tensors of the same shapes belong to a network that computes something else with them."""
    quick = any(isinstance(module, timm.layers.QuickGELU) for module in model.modules())
    if published.quick_gelu is not None and published.quick_gelu != quick:
        ours, theirs = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
        raise UserError(
            f"these weights were trained with {theirs} (says {published.where}), and {architecture.name} computes "
            f"{ours}, which makes every layer a little wrong; {_with_other_activation(architecture, quick)}."
        )
    own = architecture.arguments
    if lacking := {key: value for key, value in published.arguments.items() if key not in own and key != "num_classes"}:
        told = ", ".join(f"{key}: {value}" for key, value in lacking.items())
        raise UserError(
            f"{published.where} says that these weights belong to {architecture.name} with {told}; give architecture: "
            f"{{name: {architecture.name}, {told}}}."
        )


def _with_other_activation(architecture: Architecture, quick: bool) -> str:
    bare, dot, tag = architecture.name.partition(".")
    other = bare.replace("_quickgelu", "") if quick else bare.replace("_clip_", "_clip_quickgelu_")
    if "act_layer" not in architecture.arguments and other != bare and timm.is_model(other):
        tagged = f"{other}{dot}{tag}"
        return f"use architecture: {tagged if tagged in timm.list_pretrained(f'{other}.*') else other}"
    return f"set act_layer: {'gelu' if quick else 'quick_gelu'} in architecture"


def _normalisation(
    architecture: Architecture, model: torch.nn.Module, weights: Weights, published: Published
) -> str | None:
    """Which mean and std are used and who says so, unless params.yaml or the tag in the architecture's name does."""
    used = resolve_model_data_config(model)
    told = f"mean {list(used['mean'])} and std {list(used['std'])}"
    if weights.mean is not None and weights.std is not None:
        return None
    if {"mean", "std"} <= published.overlay.keys():
        return f"{told}, as {published.where} beside the weights says"
    if "." in architecture.name:
        return None
    tag = getattr(model, "pretrained_cfg", {}).get("tag")
    of = f"the first of timm's tags for it, {tag}" if tag else "timm's defaults for it"
    return (
        f"{architecture.name} has no tag, so photos are normalised with {told}, those of {of}; if the weights expect "
        "others, set `mean` and `std` under `weights`"
    )
