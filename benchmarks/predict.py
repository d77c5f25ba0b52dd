"""`florafauna predict` against a plain timm loop, the same model and the same photos."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config

from benchmarks.photos import draw_folder
from benchmarks.results import Section
from benchmarks.timing import Pairs, in_turn, per_second
from florafauna.bundle.bundle import Bundle, load_bundle, save_trained
from florafauna.bundle.info import read_training, write_info
from florafauna.model.compute import choose
from florafauna.photos.kinds import EXTENSIONS
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.predict.request import PredictionRequest
from florafauna.predict.run import predict
from florafauna.predict.with_torch import TorchScorer

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL = "mobilenetv2_100"
LARGER = "vit_base_patch16_224"  # on a GPU, besides
WEIGHTS = SHARED / "weights" / f"{MODEL}.tf_in1k.safetensors"
STORE_SIZE = 256
CLASSES = 1000
REAL = 512  # photos of shared/photos, every so many
DRAWN = ((800, 600, 48, 512), (4000, 3000, 6, 96))  # width, height, different photos, photos
MORE = 8  # times as many photos on a GPU, for which these are a second's work
RUNS = 5
ABOUT = """Models of timm (fp32 on a CPU, bf16 on a GPU) on all photos of a folder.
timm: `Image.open(path).convert("RGB")`, timm's `create_transform` for evaluation and the model on that one photo, in
one loop; nothing is written. florafauna: `predict` to a CSV with 5 labels a photo, its model loaded anew, decoding in
one thread a core, batches of {batch}, batch norms folded and weights packed for the CPU, each finished batch flushed to
the disk. The model alone: florafauna's, loaded before, on batches of photos that are decoded and resized already; no
reading of files can make `predict` faster than that."""


def run() -> Section:
    """The real photos, if they are there, then drawn ones of two sizes."""
    on_gpu = torch.cuda.is_available()
    rows: list[tuple[str, ...]] = []
    with TemporaryDirectory() as name:
        root = Path(name)
        sets = {f"real photos, {REAL}": _real(root / "real")} if (SHARED / "photos").is_dir() else {}
        for width, height, different, count in DRAWN:
            count *= MORE if on_gpu else 1
            photos = sets[f"{width}×{height} JPEG, {count:,} drawn"] = root / f"{width}"
            draw_folder(photos, width, height, different, count)
        for model in (MODEL, LARGER) if on_gpu else (MODEL,):
            folder = make_bundle(root / model, choose("auto").precision if on_gpu else "fp32", model)
            rows += [_compared(model, what, photos, folder, root) for what, photos in sets.items()]
    columns = ("model", "photos", "timm", "florafauna", "times faster", "the model alone", "share of it")
    return Section("Prediction", ABOUT.format(batch=PREDICTION_BATCH), columns, rows)


def _compared(name: str, what: str, photos: Path, folder: Path, root: Path) -> tuple[str, ...]:
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    bundle = load_bundle(folder)
    compute = choose(bundle.info["precision"])
    model = bundle.model.to(compute.device)
    transform = create_transform(**timm_data(bundle))

    @torch.inference_mode()
    def theirs() -> None:
        for file in files:
            image = transform(Image.open(file).convert("RGB"))[None].to(compute.device)
            with compute.autocast():
                model(image).float().cpu()

    def ours() -> None:
        predict(PredictionRequest((str(photos),), root / "out.csv", "csv", 5, None, True), folder)

    scorer, size = TorchScorer.load(folder), bundle.data.test_size
    pixels = np.random.default_rng(0).integers(0, 256, (len(files), size, size, 3), np.uint8)

    def alone() -> None:
        for start in range(0, len(files), PREDICTION_BATCH):
            scorer.logits(pixels[start : start + PREDICTION_BATCH])

    ways = (theirs, ours, alone)
    in_turn(ways, 1)  # caches, processes, lazy imports
    seconds = in_turn(ways, RUNS)
    shares = [bound / own for own, bound in zip(*seconds[1:], strict=True)]
    share = f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
    rates = [per_second(len(files), each) for each in seconds]
    return name, what, *rates[:2], Pairs(*seconds[:2]).ratio, rates[2], share


def make_bundle(folder: Path, precision: str, name: str = MODEL) -> Path:
    """A timm model as a bundle, MODEL with the shared weights where they are there."""
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    if name == MODEL and WEIGHTS.is_file():
        model.load_state_dict(load_file(WEIGHTS), strict=False)  # they are without a head
    data = resolve_data_config({}, model=model)
    size = data["input_size"][-1]
    kept = ("mean", "std", "interpolation", "crop_pct")
    info = {
        "name": name,
        "architecture": {"name": name},
        "overlay": {},
        "labels": [f"class{number:04d}" for number in range(CLASSES)],
        "data": {key: data[key] for key in kept} | {"train_size": size, "test_size": size},
        "store_size": STORE_SIZE,
        "precision": precision,
        **{key: {} for key in ("weights", "photos", "params", "versions")},
    }
    save_trained(folder, model, info)
    thresholds = {"precision": 0.95, "global": 0.0, "per_class": {}, "roll_up": None, "sentence": "All are accepted."}
    calibration = {"temperature": 1.0, "thresholds": thresholds}
    write_info(folder, read_training(folder) | {"calibration": calibration, "taxonomy": {}, "scores": {}})
    return folder


def timm_data(bundle: Bundle) -> dict[str, Any]:
    """What timm's `create_transform` is told of a bundle."""
    data = bundle.data
    return {
        "input_size": (3, data.test_size, data.test_size),
        "mean": data.mean,
        "std": data.std,
        "interpolation": data.interpolation,
        "crop_pct": data.crop_pct,
    }


def _real(folder: Path) -> Path:
    """Links to some of the real photos of all classes."""
    files = sorted(path for path in (SHARED / "photos").rglob("*") if path.suffix.lower() in EXTENSIONS["JPEG"])
    folder.mkdir()
    for number, file in enumerate(files[:: max(1, len(files) // REAL)][:REAL]):
        (folder / f"{number:05d}.jpg").symlink_to(file)
    return folder
