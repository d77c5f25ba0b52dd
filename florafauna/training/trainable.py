"""Which parameters of a model are trained, with which learning rate and weight decay, and the table that shows it."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from timm.data import resolve_model_data_config
from timm.optim import param_groups_layer_decay
from torch import nn

from florafauna.base.errors import UserError
from florafauna.model.network import DataConfig, at_size, backbone_state, classifier_paths, create, load
from florafauna.model.settings import ModelParams

NORMS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    timm.layers.LayerNorm,
    timm.layers.LayerNorm2d,
    timm.layers.RmsNorm,
    timm.layers.RmsNorm2d,
)

SMALL = 0.01  # standard deviation of `head_init: normal`


def made_for_size(params: ModelParams, overlay: dict[str, Any]) -> ModelParams:
    """The params with an architecture that is made for photos of `train_size` and `test_size`."""
    sized = at_size(params.architecture, overlay, params.train_size, params.test_size)
    return params.model_copy(update={"architecture": sized})


def build(params: ModelParams, backbone: dict[str, torch.Tensor], overlay: dict[str, Any], classes: int) -> nn.Module:
    """The given backbone and a new classifier as timm draws it, from `params.seed`; see `start_head`.

    Every tensor of the backbone must be given and fit: none keeps its random values. Positions learned for photos of
    another size are resampled.
    """
    torch.manual_seed(params.seed)
    model = create(params.architecture, classes, overlay, params.drop_path)
    expected = backbone_state(model)
    if expected.keys() != backbone.keys():
        odd = sorted(expected.keys() ^ backbone.keys())[:3]
        raise UserError(
            f"the initial weights do not fit {params.architecture.name} ({', '.join(odd)}); run `dvc repro`."
        )
    if any(backbone[name].shape != tensor.shape for name, tensor in expected.items()):
        backbone = backbone_state(load(params.architecture, 0, overlay, backbone))
    model.load_state_dict(backbone, strict=False)  # only the new classifier is missing, as just checked
    return model


@torch.no_grad()
def start_head(model: nn.Module, head_init: str, seed: int) -> None:
    """Set the classifier's weights to zero (`zero`) or small random numbers (`normal`), its bias to zero.

    `random` leaves it as timm has drawn it. What is drawn in directions that the training photos do not span stays for
    ever, and some families are drawn large: ±1/√classes for EfficientNet and MobileNet.
    """
    generator = torch.Generator().manual_seed(seed)
    for path in classifier_paths(model) if head_init != "random" else ():
        for parameter in model.get_submodule(path).parameters():
            small = torch.randn(parameter.shape, generator=generator) * SMALL
            parameter.copy_(small) if head_init == "normal" and parameter.ndim > 1 else parameter.zero_()


def data_config(model: nn.Module, params: ModelParams) -> DataConfig:
    """Normalisation, interpolation and crop from timm's data config; sizes from params where given.

    Without a `train_size` it is the `img_size` that the architecture is made for, which timm's data config ignores.
    """
    config = resolve_model_data_config(model)
    made_for = params.architecture.arguments.get("img_size") or config["input_size"]
    train_size = params.train_size or int(np.ravel(made_for)[-1])
    return DataConfig(
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=params.interpolation or config["interpolation"],
        crop_pct=float(config["crop_pct"]),
        train_size=train_size,
        test_size=params.test_size or train_size,
    )


def trains_only_the_head(model: nn.Module) -> bool:
    """Whether nothing but the classifier is trained."""
    classifier = tuple(f"{path}." for path in classifier_paths(model))
    return all(name.startswith(classifier) for name, value in model.named_parameters() if value.requires_grad)


def freeze(model: nn.Module, trainable: str | Sequence[str], norms: str) -> None:
    """Set `requires_grad` by module path. `trainable` is all, head or paths; a path that matches nothing is an error.

    `norms: all` also unfreezes every normalisation layer; `norms: tail` those registered after the first unfrozen
    module. `head` in a list is the classifier unless the model has a module of that name.
    """
    if trainable == "all":
        model.requires_grad_(True)
        return
    model.requires_grad_(False)
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    paths = classifier_paths(model) if trainable == "head" else trainable
    for path in _spell_out_head(paths, model, modules):
        if path in modules and path:
            if not any(True for _ in modules[path].parameters()):
                raise UserError(f"trainable: '{path}' has no parameters in this model.")
            modules[path].requires_grad_(True)
        elif path in parameters:
            parameters[path].requires_grad_(True)
        else:
            near = difflib.get_close_matches(path, [*modules, *parameters], n=3, cutoff=0.4)
            raise UserError(f"trainable: '{path}' matches no module of this model; the nearest are {', '.join(near)}.")
    reached = norms == "all"
    for module in modules.values():
        own = list(module.parameters(recurse=False))
        if isinstance(module, NORMS) and reached:
            module.requires_grad_(True)
        reached = reached or any(parameter.requires_grad for parameter in own)


def _spell_out_head(paths: Iterable[str], model: nn.Module, modules: dict[str, nn.Module]) -> Iterable[str]:
    for path in paths:
        if path == "head" and "head" not in modules:
            yield from classifier_paths(model)
        else:
            yield path


def set_training_modes(model: nn.Module) -> None:
    """`model.train()`, but frozen modules stay in eval(): else their batch norms change (220 of 220 buffers, measured).

    A module without parameters (dropout, drop path) follows the frozen module that contains it, or else the next
    module with parameters: dropout before a frozen block stays off, before the classifier it is on.
    """
    model.train()
    following_trains = True
    for module in reversed(list(model.modules())):
        parameters = list(module.parameters())
        if parameters:
            trains = any(parameter.requires_grad for parameter in parameters)
            if not trains:
                for inner in module.modules():
                    inner.training = False
            module.training = trains
            own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
            following_trains = any(own) if own else following_trains
        else:
            module.training = following_trains


def parameter_groups(model: nn.Module, params: ModelParams) -> list[dict[str, Any]]:
    """Optimizer groups (keys params, names, lr_scale, weight_decay), one for each distinct rate and weight decay.

    Layer decay as in BEiT (Bao et al. 2022), with timm's layer numbering; no weight decay on vectors (norms, biases)
    or on what the model excludes (positional parameters).
    """
    exclude: set[str] = getattr(model, "no_weight_decay", set)()
    layers = param_groups_layer_decay(
        model, weight_decay=params.weight_decay, no_weight_decay_list=exclude, layer_decay=params.layer_decay
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    merged: dict[tuple[float, float], list[nn.Parameter]] = {}
    for layer in layers:
        merged.setdefault((layer["lr_scale"], layer["weight_decay"]), []).extend(layer["params"])
    return [
        {
            "params": parameters,
            "names": [names[id(parameter)] for parameter in parameters],
            "lr_scale": scale,
            "weight_decay": decay,
        }
        for (scale, decay), parameters in merged.items()
    ]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """The number of parameters, and how many of them are trained."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


@dataclass(frozen=True)
class PolicyRow:
    """One row of the printed table: a module path (or a run of them) and how it is trained."""

    path: str
    parameters: int
    trainable: int
    rate: tuple[float, float]  # lowest and highest rate in the row, (0, 0) where frozen


def policy_table(model: nn.Module, groups: list[dict[str, Any]], rate: float) -> list[PolicyRow]:
    """The policy as rows in the order of the model; neighbours that are trained alike share a row."""
    scale = {name: group["lr_scale"] for group in groups for name in group["names"]}
    rows: list[PolicyRow] = []
    for path, names in _units(model):
        sizes = {name: model.get_parameter(name).numel() for name in names}
        rates = [rate * scale[name] for name in names if name in scale]
        row = PolicyRow(
            path,
            parameters=sum(sizes.values()),
            trainable=sum(size for name, size in sizes.items() if name in scale),
            rate=(min(rates), max(rates)) if rates else (0.0, 0.0),
        )
        last = rows[-1] if rows else None
        if last is not None and row.rate == last.rate and _state(row) == _state(last) != "partly":
            first = last.path.partition(" … ")[0]
            rows[-1] = PolicyRow(
                f"{first} … {path}", last.parameters + row.parameters, last.trainable + row.trainable, row.rate
            )
        else:
            rows.append(row)
    return rows


def format_policy(rows: list[PolicyRow]) -> str:
    """The policy table as text for the log."""
    width = max(len(row.path) for row in rows)
    lines = [f"{'module':{width}}  {'parameters':>12}  {'trainable':>12}  rate"]
    for row in rows:
        low, high = row.rate
        rate = "frozen" if not row.trainable else f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        lines.append(f"{row.path:{width}}  {row.parameters:>12,}  {row.trainable:>12,}  {rate}")
    total, open_ = sum(row.parameters for row in rows), sum(row.trainable for row in rows)
    lines.append(f"{'total':{width}}  {total:>12,}  {open_:>12,}")
    return "\n".join(lines)


def _state(row: PolicyRow) -> str:
    return "frozen" if not row.trainable else "open" if row.trainable == row.parameters else "partly"


def _units(model: nn.Module) -> list[tuple[str, list[str]]]:
    """Top-level modules, and the members of top-level sequences (`blocks.3`), each with the names of its parameters."""
    units: dict[str, list[str]] = {}
    sequences = {name for name, child in model.named_children() if isinstance(child, nn.Sequential | nn.ModuleList)}
    for name, _ in model.named_parameters():
        parts = name.split(".")
        path = ".".join(parts[:2]) if parts[0] in sequences else parts[0]
        units.setdefault(path, []).append(name)
    return list(units.items())
