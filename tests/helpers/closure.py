"""Which files of this repository a script imports, directly or through others, found by reading the code."""

import ast
from pathlib import Path


def import_closure(script: Path, repository: Path) -> set[str]:
    """POSIX paths below `repository` of `script` and of all that it imports, also inside functions."""
    found: set[str] = set()
    frontier = [script.relative_to(repository).as_posix()]
    while frontier:
        path = frontier.pop()
        if path not in found:
            found.add(path)
            frontier += imported_files(repository / path, repository)
    return found


def imported_files(file: Path, repository: Path) -> set[str]:
    """POSIX paths of the modules that one file imports, and of the `__init__.py` of every package above them."""
    names: set[str] = set()
    package = ".".join(file.relative_to(repository).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.level else str(node.module)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {path for name in names for path in _files(name, repository)}


def _files(name: str, repository: Path) -> list[str]:
    """A module's file and the `__init__.py` of every package above it; none for what is not ours."""
    parts = name.split(".")
    candidates = [repository.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    candidates.append(repository.joinpath(*parts).with_suffix(".py"))
    return [file.relative_to(repository).as_posix() for file in candidates if file.is_file()]
