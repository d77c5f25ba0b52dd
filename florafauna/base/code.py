"""A hash of the code that computes a cached result, as part of its key: different code, different key."""

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from florafauna.base.files import sha256_bytes


@lru_cache
def code_hash(*names: str) -> str:
    """SHA-256 of the code of modules and of whole packages, e.g. `code_hash("florafauna.pixels")`.

    Comments, docstrings and layout do not count. Any other change gives a different hash, so that nobody has to
    remember to raise a version.
    """
    files = sorted({file for name in names for file in _files(name)})
    return sha256_bytes("\n".join(f"{file.name} {_code(file)}" for file in files).encode())


def _files(name: str) -> list[Path]:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"no module is named {name}")
    file = Path(spec.origin)
    return sorted(file.parent.rglob("*.py")) if spec.submodule_search_locations else [file]


def _code(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
