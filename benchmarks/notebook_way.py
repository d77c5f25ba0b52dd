"""The peer: a model trained as notebooks do it, with torchvision's ImageFolder, timm and a DataLoader.

Every epoch decodes the original files, transforms them and runs the whole model, its frozen layers too. Each model has
a process of its own, as each has its notebook: `python -m benchmarks.notebook_way RECIPE.json FOLDERS OUT.json`.
"""

import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from sklearn.metrics import f1_score
from timm.data import create_transform
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode

from florafauna.base.cores import usable_cores
from florafauna.model.settings import ModelParams

POLICY = "rand-m9-mstd0.5-inc1"
OWN, TIMM = "resize, flip, rotation, colour jitter", f"timm's create_transform with {POLICY}"


@dataclass(frozen=True)
class Recipe:
    """What a notebook sets at its top."""

    model: str
    arguments: dict[str, Any]  # of timm's create_model
    weights: str | None  # a safetensors file without a classifier; None: random
    trainable: str | list[str]  # all | head | module paths
    transform: str  # OWN | TIMM
    optimizer: str  # adam | adamw
    rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    patience: int
    workers: int = 0  # of the DataLoader
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """What a notebook ends with: the class predicted for each test file, and where the time went."""

    weighted_f1: float
    predicted: dict[str, str]  # file name in the test folder: label
    val_weighted_f1: list[float]
    seconds: float


def recipe_of(params: ModelParams, weights: Path | None, transform: str) -> Recipe:
    """The same model, parts to train, optimizer, epochs, batch size, picture size and normalisation as in `params`."""
    given, size = params.weights, params.train_size
    trainable = params.trainable if isinstance(params.trainable, str) else list(params.trainable)
    if not (given.mean and given.std and given.interpolation and given.crop_pct and size):
        raise ValueError("a recipe needs train_size and a full data config in weights")
    return Recipe(
        model=params.architecture.name,
        arguments=params.architecture.arguments,
        weights=str(weights) if weights else None,
        trainable=trainable,
        transform=transform,
        optimizer=params.optimizer,
        rate=params.rate,
        weight_decay=params.weight_decay,
        epochs=params.epochs,
        batch_size=params.batch_size,
        size=size,
        mean=given.mean,
        std=given.std,
        interpolation=given.interpolation,
        crop_pct=given.crop_pct,
        patience=params.patience,
    )


def link_folders(manifest: pd.DataFrame, photos: Path, out: Path) -> None:
    """`out`/split/label/file as links to the originals: ImageFolder then sees the pipeline's own split."""
    for path, label, split in zip(manifest["path"], manifest["label"], manifest["split"], strict=True):
        link = out / split / label / file_name(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((photos / path).resolve())


def serving_best(recipe: Recipe, folders: Path, choices: Sequence[int] | None = None) -> Recipe:
    """The recipe with the number of DataLoader workers that is fastest over one epoch of `folders`, by measurement."""
    cores = usable_cores()
    tried = [replace(recipe, workers=workers, epochs=1) for workers in choices or sorted({0, 1, cores // 2, cores})]
    seconds = [train(each, folders, test=False).seconds for each in tried]
    return replace(recipe, workers=tried[seconds.index(min(seconds))].workers)


def file_name(path: str) -> str:
    """The name of a photo's link: its path in one word."""
    return path.replace("/", "__")


def train(recipe: Recipe, folders: Path, test: bool = True) -> Trained:
    """Train on `folders`/train, keep the epoch with the best F1 on /val, and predict /test unless that is not asked."""
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    amp = device.type == "cuda"
    torch.manual_seed(recipe.seed)
    training, validation = _transforms(recipe)
    train_loader = _loader(recipe, ImageFolder(str(folders / "train"), training), shuffle=True)
    val_loader = _loader(recipe, ImageFolder(str(folders / "val"), validation))
    classes = train_loader.dataset.classes  # type: ignore[attr-defined]
    model = _model(recipe, len(classes)).to(device)
    opened = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = optimizers[recipe.optimizer](opened, lr=recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    criterion = nn.CrossEntropyLoss()

    scores: list[float] = []
    best: dict[str, torch.Tensor] = {}
    for _ in range(recipe.epochs):
        _training_mode(model)
        for images, targets in train_loader:
            images, targets = images.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.float16, enabled=amp):
                loss = criterion(model(images), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
        targets_, predicted = _predict(model, val_loader, device)
        scores.append(f1_score(targets_, predicted, average="weighted", zero_division=0))
        if scores[-1] >= max(scores):
            best = copy.deepcopy(model.state_dict())
        if len(scores) - 1 - scores.index(max(scores)) >= recipe.patience:
            break
    model.load_state_dict(best)
    if not test:
        return Trained(float("nan"), {}, scores, time.perf_counter() - start)
    test_set = ImageFolder(str(folders / "test"), validation)
    targets_, predicted = _predict(model, _loader(recipe, test_set), device)
    test_labels = [test_set.classes[target] for target in targets_]
    labels = [classes[number] for number in predicted]
    score = f1_score(test_labels, labels, average="weighted", zero_division=0)
    names = (Path(file).name for file, _ in test_set.samples)
    return Trained(float(score), dict(zip(names, labels, strict=True)), scores, time.perf_counter() - start)


def _transforms(recipe: Recipe) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """For training and for everything else."""
    size, interpolation = recipe.size, recipe.interpolation
    end = [transforms.ToTensor(), transforms.Normalize(recipe.mean, recipe.std)]
    if recipe.transform == TIMM:
        picture: dict[str, Any] = {"input_size": (3, size, size), "mean": recipe.mean, "std": recipe.std}
        facts = picture | {"interpolation": interpolation}
        training = create_transform(**facts, is_training=True, auto_augment=POLICY, re_prob=0.0)
        return training, create_transform(**facts, is_training=False, crop_pct=recipe.crop_pct)
    mode = InterpolationMode(interpolation)
    own = [
        transforms.Resize((size, size), mode),
        transforms.RandomHorizontalFlip(),
        transforms.RandomRotation(15),
        transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    ]
    whole = [transforms.Resize(int(size / recipe.crop_pct), mode), transforms.CenterCrop(size)]
    return transforms.Compose([*own, *end]), transforms.Compose([*whole, *end])


def _loader(recipe: Recipe, photos: ImageFolder, shuffle: bool = False) -> DataLoader[Any]:
    """A last batch that is not full is left out of training, as in the pipeline."""
    return DataLoader(
        photos,
        batch_size=min(recipe.batch_size, len(photos)),
        shuffle=shuffle,
        drop_last=shuffle,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _model(recipe: Recipe, classes: int) -> nn.Module:
    overlay = {"file": recipe.weights, "num_classes": 0} if recipe.weights else {}
    model: nn.Module = timm.create_model(
        recipe.model,
        pretrained=recipe.weights is not None,
        num_classes=classes,
        pretrained_cfg_overlay=overlay,
        **recipe.arguments,
    )
    if recipe.trainable != "all":
        model.requires_grad_(False)
        for path in recipe.trainable if isinstance(recipe.trainable, list) else []:
            if path != "head":
                model.get_submodule(path).requires_grad_(True)
        model.get_classifier().requires_grad_(True)  # type: ignore[operator]
    return model


def _training_mode(model: nn.Module) -> None:
    """Frozen modules stay in eval(). The notebooks' did not, which did no harm where it was layer norms they had."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@torch.inference_mode()
def _predict(model: nn.Module, loader: DataLoader[Any], device: torch.device) -> tuple[list[int], list[int]]:
    model.eval()
    targets: list[int] = []
    predicted: list[int] = []
    for images, labels in loader:
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            logits = model(images.to(device, non_blocking=True))
        predicted += logits.argmax(1).tolist()
        targets += labels.tolist()
    return targets, predicted


def main(recipe: Path, folders: Path, out: Path) -> None:
    """One notebook from its first cell to its last."""
    out.write_text(json.dumps(asdict(train(Recipe(**json.loads(recipe.read_text())), folders))), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
