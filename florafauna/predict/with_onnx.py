"""A bundle that `florafauna export --onnx` wrote, run by onnxruntime. Nothing here needs torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_bytes
from florafauna.bundle.info import parse_info, read_info
from florafauna.pixels.centre import Resize
from florafauna.predict._onnx_file import refuse_changed, refuse_external
from florafauna.predict._resample import resize
from florafauna.predict.extras import require

FILE, KEY = "model.onnx", "florafauna"  # the metadata's key for bundle.json
PIXELS, LOGITS = "pixels", "logits"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True)
class OnnxScorer:
    """See `Scorer`."""

    session: Any  # onnxruntime.InferenceSession, which is not typed
    info: dict[str, Any]
    resize: Resize = resize

    @classmethod
    def load(cls, path: Path) -> "OnnxScorer":
        """From a folder with model.onnx and bundle.json, or an .onnx file alone, whose metadata contain the latter."""
        folder = path.is_dir()
        file = path / FILE if folder else path
        try:
            data = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}; name an exported bundle.") from None
        digest = sha256_bytes(data)
        info = read_info(path) if folder else {}
        if folder and info["sha256"] != digest:
            raise UserError(f"{file} is not the file that bundle.json describes (sha256 differs); export it again.")
        refuse_changed(data, str(file))
        refuse_external(data, str(file))
        session = open_session(data, str(file))
        return cls(session, info or _inner(session, file) | {"sha256": digest})

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return np.asarray(self.session.run([LOGITS], {PIXELS: pixels})[0], dtype=np.float32)


def open_session(data: bytes, name: str) -> Any:
    """An onnxruntime session, on the GPU if the installed build supports it; `UserError` if the file cannot be run."""
    require("onnxruntime")
    import onnxruntime

    providers = [each for each in PROVIDERS if each in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(data, providers=providers)
    except Exception as error:  # its errors have no other base class in common
        raise UserError(f"{name} cannot be run by onnxruntime ({error}); export it again.") from None


def _inner(session: Any, file: Path) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise UserError(f"{file} was not written by `florafauna export`: its metadata have no key '{KEY}'.")
    return parse_info(text, file)
