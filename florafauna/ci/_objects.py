"""Objects of the DVC cache: where one lies, what a folder lists, and whether its bytes are what its name says.

DVC names an object by the MD5 of its bytes, and trusts read-only objects without reading them again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

FOLDER = ".dir"


def object_path(cache: Path, md5: str) -> Path:
    """Where the cache keeps the object named `md5`."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def objects_of(cache: Path, md5: str) -> Iterator[str]:
    """The names of all objects of an output: itself, and for a folder every file of its listing, if that is there."""
    yield md5
    if md5.endswith(FOLDER):
        try:
            listing = json.loads(object_path(cache, md5).read_bytes())
        except (FileNotFoundError, ValueError):
            return
        yield from (str(entry["md5"]) for entry in listing)


def missing(cache: Path, md5: str) -> list[str]:
    """The objects of an output that the cache lacks."""
    return [name for name in objects_of(cache, md5) if not object_path(cache, name).is_file()]


def corrupted(cache: Path, md5: str) -> list[Path]:
    """The objects of an output whose bytes are not those that their name promises."""
    paths = {name: object_path(cache, name) for name in objects_of(cache, md5)}
    return [path for name, path in paths.items() if path.is_file() and md5_file(path) != name.removesuffix(FOLDER)]


def size(cache: Path, names: set[str]) -> int:
    """Bytes that these objects take in the cache."""
    return sum(object_path(cache, name).stat().st_size for name in names)


def md5_file(path: Path) -> str:
    """MD5 of a file in hex: the name DVC gives it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
