"""`florafauna predict` on a detector's boxes against a plain loop, and its memory with the number of boxes."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from benchmarks.memory import peak
from benchmarks.photos import draw_folder
from benchmarks.predict import MODEL, make_bundle, timm_data
from benchmarks.results import Section
from benchmarks.timing import pairs, per_second
from florafauna.bundle.bundle import load_bundle
from florafauna.model.compute import choose
from florafauna.photos.crops import crop_of, place
from florafauna.photos.settings import BoxParams
from florafauna.predict.request import PredictionRequest
from florafauna.predict.run import predict

PHOTOS = ((1280, 960, 12, 480), (4000, 3000, 6, 128))  # width, height, different photos, photos
A_PHOTO = 2  # boxes
TINY, COUNTS = "test_efficientnet", (10_000, 100_000)  # model and boxes of the memory, whose photos have 96 px
MANY, SMALL = 500, 96
RUNS = 3
ABOUT = f"""{MODEL} (timm, fp32 on a CPU) on {A_PHOTO} boxes a photo, a tenth to a third of its sides. timm:
`Image.open(path).convert("RGB").crop(box)`, opened once a photo, timm's `create_transform` for evaluation and the model
on that one crop, in one loop; nothing is written. florafauna: `predict detected.json` to the completed JSON, its model
loaded anew, boxes grown and squared as in training. Memory: of `predict` on {COUNTS[0]:,} and on {COUNTS[1]:,} boxes of
small photos with {TINY}, measured as in "Memory"."""


def run() -> Section:
    """Speed on photos of two sizes, then memory at two numbers of boxes."""
    rows = []
    with TemporaryDirectory() as name:
        root = Path(name)
        tiny = make_bundle(root / "tiny", "fp32", TINY)
        draw_folder(root / "small", SMALL, SMALL, MANY, MANY)
        few, many = (_memory(_detected(root / "small", count), tiny) for count in COUNTS)
        folder = make_bundle(root / "bundle", "fp32")
        for width, height, different, count in PHOTOS:
            draw_folder(root / f"{width}", width, height, different, count)
            detected = _detected(root / f"{width}", A_PHOTO * count)
            rows.append(_compared(f"{width}×{height} JPEG, {count} with {A_PHOTO} boxes each", detected, folder, root))
    sizes = (f"{COUNTS[0]:,} boxes: {few / 1e6:,.0f} MB", f"{COUNTS[1]:,} boxes: {many / 1e6:,.0f} MB")
    rows.append(("memory", *sizes, f"**{many / few:.2f}×** as much"))
    return Section("Boxes", ABOUT, ("photos", "timm, boxes/s", "florafauna, boxes/s", "times faster"), rows)


def _detected(photos: Path, boxes: int) -> Path:
    """Results for so many boxes, spread over the photos."""
    files, rng = sorted(photos.rglob("*.jpg")), np.random.default_rng(0)
    entries = []
    for number, file in enumerate(files):
        share = len(range(number, boxes, len(files)))
        corners, sides = rng.uniform(0, 0.65, (share, 2)), rng.uniform(0.1, 0.33, (share, 2))
        found = [
            {"category": "1", "conf": 0.9, "bbox": [round(float(value), 4) for value in (*corner, *side)]}
            for corner, side in zip(corners, sides, strict=True)
        ]
        entries.append({"file": file.relative_to(photos).as_posix(), "detections": found})
    document = {"info": {"format_version": "1.5"}, "detection_categories": {"1": "animal"}, "images": entries}
    path = photos.with_name(f"{photos.name}-{boxes}.json")
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def _compared(what: str, detected: Path, folder: Path, root: Path) -> tuple[str, ...]:
    photos = detected.with_name(detected.name.partition("-")[0])
    entries: list[dict[str, Any]] = json.loads(detected.read_text(encoding="utf-8"))["images"]
    bundle = load_bundle(folder)
    compute = choose("fp32")
    model = bundle.model.to(compute.device)
    transform = create_transform(**timm_data(bundle))

    @torch.inference_mode()
    def theirs() -> None:
        for entry in entries:
            image = Image.open(photos / entry["file"]).convert("RGB")
            for found in entry["detections"]:
                left, top, width, height = crop_of(place(found["bbox"], *image.size), *image.size, BoxParams())
                crop = image.crop((left, top, left + width, top + height))
                model(transform(crop)[None].to(compute.device)).float().cpu()

    request = PredictionRequest((str(detected),), root / "out.json", "megadetector", 5, None, True, root=photos)
    timed = pairs(theirs, lambda: predict(request, folder), RUNS)
    count = sum(len(entry["detections"]) for entry in entries)
    return what, per_second(count, timed.theirs), per_second(count, timed.ours), timed.ratio


def _memory(detected: Path, folder: Path) -> int:
    """Peak bytes of `predict` and its processes."""
    photos = detected.with_name(detected.name.partition("-")[0])
    command = [sys.executable, "-m", "florafauna.commands.cli", "predict", str(detected), "--photos", str(photos)]
    command += ["--bundle", str(folder), "--out", str(detected.with_suffix(".out.json"))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True)
    found = peak(process)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return found
