"""`florafauna export --onnx`: a bundle as one file for any ONNX runtime, written only if it agrees with torch."""

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from florafauna.base.errors import UserError, plain_line
from florafauna.base.files import atomic_path, sha256_file
from florafauna.bundle.bundle import Bundle, load_bundle
from florafauna.bundle.inference import Ready
from florafauna.bundle.info import write_info
from florafauna.model.compute import Compute
from florafauna.model.network import DataConfig
from florafauna.pixels.centre import PREDICTION_BATCH, centre
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore
from florafauna.predict._onnx_file import KEY as SEAL_KEY
from florafauna.predict._onnx_file import UNSEALED, seal
from florafauna.predict.answers import Answers
from florafauna.predict.request import refuse_no_file
from florafauna.predict.scorer import is_exported
from florafauna.predict.with_onnx import FILE, KEY, LOGITS, PIXELS, open_session
from florafauna.scores.calibration import softmax

LARGEST_DIFFERENCE = 1e-3  # of probabilities
CHECKED = 2 * PREDICTION_BATCH  # photos
LARGEST_BYTES = (1 << 31) - (1 << 20)  # limit of protobuf, and so of an ONNX file
CPU = Compute(torch.device("cpu"), "fp32")  # ONNX stores the weights as they are, in fp32


class _FromPixels(nn.Module):
    """Normalisation and model in one, so that users cannot normalise wrongly."""

    def __init__(self, model: nn.Module, data: DataConfig) -> None:
        super().__init__()
        self.model = model
        deviation = torch.tensor(data.std).view(1, 3, 1, 1)
        self.scale: torch.Tensor
        self.shift: torch.Tensor
        self.register_buffer("scale", 1 / (255 * deviation))
        self.register_buffer("shift", -torch.tensor(data.mean).view(1, 3, 1, 1) / deviation)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (photos, classes) of uint8 (photos, height, width, 3)."""
        images: torch.Tensor = self.model(pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift)
        return images


def export_onnx(folder: Path, out: Path, val: Path = Path("data/processed/val")) -> float:
    """Write the bundle to `out`, an .onnx file or a folder (model.onnx, bundle.json, MODEL_CARD.md).

    Returns the largest difference of a probability between onnxruntime and torch, over the photos of the store `val`
    if it exists and has the model's classes, else over seeded random pictures. `UserError` if it is not below
    `LARGEST_DIFFERENCE`; nothing is written then.

    >>> export_onnx(Path("models/vit"), Path("vit.onnx"))  # doctest: +SKIP
    """
    alone = out.suffix.lower() == ".onnx"
    _refuse_out(out, alone)
    if is_exported(folder):
        raise UserError(f"{folder} was exported already; name the bundle that it was exported from.")
    bundle = load_bundle(folder)
    size = sum(tensor.numel() * tensor.element_size() for tensor in bundle.model.state_dict().values())
    if size > LARGEST_BYTES:
        raise UserError(f"{folder} has {size / 1e9:.1f} GB of weights; ONNX files are limited to 2 GB: use torch.")
    parent = out.parent if alone else out
    existed = parent.exists()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=parent, prefix=".export-") as scratch:
            made = Path(scratch) / FILE
            _write_model(bundle, made)
            pixels, what = _pixels(bundle, val)
            difference = _difference(bundle, made, pixels)
            if not difference < LARGEST_DIFFERENCE:
                raise UserError(
                    f"{folder} cannot be exported: on {what} probabilities from onnxruntime and torch differ by "
                    f"{difference:.2g}, and {LARGEST_DIFFERENCE:g} is allowed; use the bundle with torch."
                )
            with atomic_path(out if alone else out / FILE) as temporary:
                shutil.copyfile(made, temporary)
        if not alone:
            _describe(bundle, folder, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}.") from None
    finally:
        if not existed and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    print(plain_line(f"{out}: on {what} probabilities differ from torch's by at most {difference:.2g}"), flush=True)
    return difference


def _describe(bundle: Bundle, folder: Path, out: Path) -> None:
    """Write the files beside model.onnx; bundle.json, which makes the folder a bundle, comes last."""
    card = folder / "MODEL_CARD.md"
    if card.is_file():
        with atomic_path(out / card.name) as temporary:
            shutil.copyfile(card, temporary)
    write_info(out, bundle.info | {"sha256": sha256_file(out / FILE), "exported_from": bundle.info["sha256"]})


def _refuse_out(out: Path, alone: bool) -> None:
    if alone and out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file, or a folder whose name does not end in .onnx.")
    if alone or not out.exists():
        refuse_no_file(out)
    if not alone and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder, or a file that ends in .onnx.")
    if not alone and (out / "model.safetensors").exists():
        raise UserError(f"--out {out} contains a bundle; name another folder.")


def _write_model(bundle: Bundle, path: Path) -> None:
    """Write the ONNX file with its metadata, as one file whatever its size."""
    import onnx

    side = bundle.data.test_size
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    model = _FromPixels(bundle.model, bundle.data).eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=[PIXELS],
                output_names=[LOGITS],
                dynamic_shapes={PIXELS: {0: torch.export.Dim("photos")}},
                verbose=False,
            )
            assert program is not None
            proto = program.model_proto
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        name = bundle.info["architecture"]["name"]
        raise UserError(f"torch cannot write {name} as ONNX ({reason}); use the bundle with torch.") from None
    _strip(proto)
    onnx.helper.set_model_props(proto, _properties(bundle))
    proto.doc_string = _about(bundle)
    proto.producer_name = "florafauna"
    onnx.checker.check_model(proto)
    path.write_bytes(seal(proto.SerializeToString(deterministic=True)))


def _strip(proto: Any) -> None:
    """Remove the nodes' references to torch's code and to paths on this machine."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for each in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del each.metadata_props[:]
        each.doc_string = ""
    for function in proto.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    del proto.graph.metadata_props[:]


def _properties(bundle: Bundle) -> dict[str, str]:
    """The metadata: all of bundle.json, and separately what users of other tools look for."""
    info, side = bundle.info, bundle.data.test_size
    return {
        "input": f"{PIXELS}: RGB, uint8 (photos, {side}, {side}, 3); normalised inside",
        "output": f"{LOGITS}: float32 (photos, {len(info['labels'])}); softmax(logits / temperature) are probabilities",
        **{key: _json(info[key]) for key in ("labels", "data", "store_size", "calibration", "taxonomy")},
        KEY: _json(info),
        SEAL_KEY: UNSEALED,
    }


def _about(bundle: Bundle) -> str:
    return f"{bundle.info['name']}: {bundle.info['architecture']['name']} for {len(bundle.labels)} classes"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _pixels(bundle: Bundle, val: Path) -> tuple[np.ndarray, str]:
    """Inputs to check with, uint8 (photos, size, size, 3), and what they are in words."""
    data = bundle.data
    if (val / "index.parquet").is_file():
        store = PixelStore(val)
        if store.labels == bundle.labels and len(store):
            rows = np.unique(np.linspace(0, len(store) - 1, CHECKED).round().astype(int))
            seen = [centre(store.photo(row), data.test_size, data.crop_pct, data.interpolation, resize) for row in rows]
            return np.stack(seen), f"{len(rows)} photos of {val}"
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(CHECKED):  # at all scales, from smooth gradients to noise
        cells = int(rng.integers(2, data.test_size + 1))
        small = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        pictures.append(resize(small, data.test_size, data.test_size, "bicubic"))
    return np.stack(pictures), f"{CHECKED} random pictures"


def _difference(bundle: Bundle, file: Path, pixels: np.ndarray) -> float:
    """The largest difference of a calibrated probability; infinite if one is NaN."""
    temperature = Answers.of_bundle(bundle.info, 1).temperature
    session = open_session(file.read_bytes(), file.name)
    largest, start = 0.0, 0
    ready = Ready(bundle.model, bundle.data, CPU)
    for photos in (1, 2, *[PREDICTION_BATCH] * len(pixels)):  # batches of several sizes
        batch = pixels[start : start + photos]
        if not len(batch):
            break
        start += photos
        theirs = session.run([LOGITS], {PIXELS: batch})[0]
        ours = ready.logits(torch.from_numpy(batch).permute(0, 3, 1, 2))
        gap = np.abs(softmax(theirs, temperature) - softmax(ours.numpy(), temperature)).max()
        largest = max(largest, float(gap)) if np.isfinite(gap) else np.inf
    return largest


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress and its advice to its own developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
