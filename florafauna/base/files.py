"""Files on disk: written whole or not at all, and named by their content."""

import glob
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from florafauna.base.errors import UserError
from florafauna.base.locks import OPEN_FILES_MOVE, lock

SECONDS_TO_LOCK = 60.0  # a temporary file of this age that nobody holds is nobody's any more


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`, on error removed.

    A reader sees either the old file or the whole new one, even after a power cut (fsync of the file, then its folder).
    What killed runs left of the same path is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        if OPEN_FILES_MOVE:
            with suppress(OSError):  # some network file systems have no locks
                lock(descriptor)
        else:
            os.close(descriptor)
        yield temporary
        flush(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that finds the disk full does not say where
        raise
    finally:
        if OPEN_FILES_MOVE:
            os.close(descriptor)
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files below `folder` of runs that were killed; those of runs under way are left alone."""
    _remove_orphans(folder.rglob(".*.tmp"))


def _remove_orphans(temporaries: Iterable[Path]) -> None:
    for file in temporaries if OPEN_FILES_MOVE else ():
        with suppress(OSError), file.open("rb") as opened:
            if time.time() - os.fstat(opened.fileno()).st_mtime > SECONDS_TO_LOCK:
                lock(opened.fileno())
                file.unlink()


def flush(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk; Windows does the latter by itself."""
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, keys in the order given; NaN is refused because JSON does not have it."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(
    path: Path,
    when_missing: str = "run `dvc repro`",
    when_broken: str = "run `dvc repro`",
    keys: Iterable[str] = (),
) -> dict[str, Any]:
    """The object in a JSON file; if it is missing, broken or lacks one of `keys`, a `UserError` says what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {when_missing}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); {when_broken}.") from None
    value = parse_json(text, path, when_broken)
    for key in keys:
        if key not in value:
            raise UserError(f"{path} has no '{key}'; {when_broken}.")
    return value


def parse_json(text: str, path: Path | str, when_broken: str, nan: bool = False) -> dict[str, Any]:
    """The object in `text`, the content of `path`; `nan` lets through the NaN that Python writes and JSON lacks."""
    try:
        value = json.loads(text, parse_constant=float if nan else _no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); {when_broken}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object; {when_broken}.")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex; the file may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: equal values have equal fingerprints on every machine."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
