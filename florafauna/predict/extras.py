"""What is not installed with the package and can be."""

from florafauna.errors import UserError

PACKAGES = {"onnx": "onnx onnxruntime onnxscript", "onnxruntime": "onnxruntime", "serve": "fastapi uvicorn"}


def missing(module: str | None, what: str) -> UserError:
    """The sentence for a module of `PACKAGES[what]` that is not there."""
    return UserError(f"{module or what} is not installed; run `pip install {PACKAGES[what]}`.")
