"""Optional dependencies."""

from importlib.util import find_spec

from florafauna.base.errors import UserError

EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "onnxruntime": ("onnxruntime",),
    "ray": ("ray",),
    "serve": ("fastapi", "uvicorn"),
}


def require(what: str) -> None:
    """`UserError` with the command to run if a module of `EXTRAS[what]` is not installed; imports none."""
    for module in EXTRAS[what]:
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise UserError(f"{module} is not installed; run `pip install {' '.join(EXTRAS[what])}`.")
