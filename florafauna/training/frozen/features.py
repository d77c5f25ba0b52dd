"""A frozen prefix's features on disk: one memory-mapped file a view and value, computed once, bounded in total."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from florafauna.base.files import atomic_path, write_json

VERSION = 2  # raise it when the format changes: older features are then not found
LIMIT_BYTES = 64 << 30  # of all remembered features together; the least recently used go first
SHARE_OF_FREE_DISK = 0.5


class TooLargeError(Exception):
    """The features would not fit on the disk; the message says how large they are."""


@dataclass(frozen=True)
class Value:
    """One value that crosses the cut: its shape for a single photo and its torch dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes a photo."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


@dataclass(frozen=True)
class Features:
    """The remembered features of one view of a set of photos, in the order of the photos."""

    values: tuple[Value, ...]
    maps: tuple[np.ndarray, ...]  # uint8 (photos, bytes): numpy has no bfloat16
    seconds: float  # what computing them took, now or when they were first needed

    def rows(self, photos: np.ndarray | slice) -> tuple[torch.Tensor, ...]:
        """The features of some photos, (photos, *shape): of a slice as views of the mapped files, else as copies."""
        chosen = [rows[photos] for rows in self.maps]
        return tuple(
            torch.from_numpy(rows).view(value.dtype).reshape(len(rows), *value.shape)
            for value, rows in zip(self.values, chosen, strict=True)
        )


def remember(
    folder: Path, photos: int, sample: Sequence[torch.Tensor], compute: Callable[[], Iterable[Sequence[torch.Tensor]]]
) -> Features:
    """The features in `folder`, computed on the first call.

    `sample` is any batch of features (it gives shapes and dtypes); `compute()` yields batches in the order of the
    photos. Raises `TooLargeError` rather than fill the disk.
    """
    values = tuple(Value(tuple(value.shape[1:]), value.dtype) for value in sample)
    paths = [folder / f"{number}.bin" for number in range(len(values))]
    if not (folder / "complete.json").is_file():
        needed = photos * sum(value.row_bytes for value in values)
        _make_room(folder.parent, needed)
        start = time.monotonic()
        _write(paths, photos, compute())
        write_json(folder / "complete.json", {"photos": photos, "seconds": time.monotonic() - start})
    (folder / "complete.json").touch()  # when it was last used
    seconds = float(json.loads((folder / "complete.json").read_text(encoding="utf-8"))["seconds"])
    maps = [
        np.memmap(path, dtype=np.uint8, mode="c", shape=(photos, value.row_bytes))  # torch warns of read-only arrays
        for path, value in zip(paths, values, strict=True)
    ]
    return Features(values, tuple(maps), seconds)


def _write(paths: list[Path], photos: int, batches: Iterable[Sequence[torch.Tensor]]) -> None:
    with ExitStack() as stack:
        temporaries = [stack.enter_context(atomic_path(path)) for path in paths]
        files = [stack.enter_context(temporary.open("wb")) for temporary in temporaries]
        written = 0
        for batch in batches:
            for file, tensor in zip(files, batch, strict=True):
                file.write(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
            written += len(batch[0])
        if written != photos:
            raise RuntimeError(f"{written} rows of features for {photos} photos")


def _make_room(cache: Path, needed: int) -> None:
    """Drop the least recently used features until `needed` bytes fit under the limit and into the disk's free half."""
    cache.mkdir(parents=True, exist_ok=True)
    entries = sorted(cache.glob("*/complete.json"), key=lambda path: (path.stat().st_mtime, path))
    sizes = {entry: sum(file.stat().st_size for file in entry.parent.iterdir()) for entry in entries}
    for entry in entries:
        if sum(sizes.values()) + needed <= LIMIT_BYTES:
            break
        if _drop(entry.parent):
            del sizes[entry]
    allowed = min(LIMIT_BYTES, int(shutil.disk_usage(cache).free * SHARE_OF_FREE_DISK))
    if needed > allowed:
        raise TooLargeError(f"{needed / 1e9:.1f} GB of features where {allowed / 1e9:.1f} GB are allowed")


def _drop(folder: Path) -> bool:
    """Remove features, all of them or none: Windows keeps those that are mapped. Returns whether they are gone."""
    gone = folder.with_name(f"{folder.name}.gone")
    try:
        folder.rename(gone)
    except PermissionError:
        return False
    shutil.rmtree(gone)
    return True
