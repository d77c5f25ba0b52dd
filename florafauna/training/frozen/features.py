"""A frozen prefix's features on disk: one memory-mapped file a view and value, computed once, bounded in total.

Files carry checksums: what was damaged on disk is computed again. What cannot be kept there is no error of a training.
"""

import json
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from florafauna.base.files import atomic_path, write_json
from florafauna.model.ranks import by_all, by_first, part, rank, ranks
from florafauna.pixels.centre import PREDICTION_BATCH

Computed = Callable[[range], Iterable[Sequence[torch.Tensor]]]  # batches of some photos, in their order

LIMIT_BYTES = 64 << 30  # of all remembered features together; the least recently used go first
SHARE_OF_FREE_DISK = 0.5
COMPLETE = "complete.json"  # written last: how many photos, the seconds that they took, a checksum a value


class NotRememberedError(Exception):
    """The features cannot be kept on disk; the message says why."""


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
    """The remembered features of one view of a set of photos, in the order of the photos, or of some of these."""

    values: tuple[Value, ...]
    maps: tuple[np.ndarray, ...]  # uint8 (photos, bytes): numpy has no bfloat16
    seconds: float  # what computing them took, now or when they were first needed
    chosen: np.ndarray | None = None  # the photos meant, as rows of the maps; None: all

    def of(self, chosen: np.ndarray | None) -> "Features":
        """Those of some of the photos, int64 (photos,), in this order; None: of all."""
        return replace(self, chosen=chosen)

    def rows(self, photos: np.ndarray | slice) -> tuple[torch.Tensor, ...]:
        """The features of some photos, (photos, *shape): of a slice as views of the mapped files, else as copies."""
        chosen = [rows[photos if self.chosen is None else self.chosen[photos]] for rows in self.maps]
        return tuple(
            torch.from_numpy(rows).view(value.dtype).reshape(len(rows), *value.shape)
            for value, rows in zip(self.values, chosen, strict=True)
        )


def remember(folder: Path, photos: int, sample: Sequence[torch.Tensor], compute: "Computed") -> Features:
    """The features in `folder`, computed on the first call, and again where the disk has changed them.

    `sample` is any batch of features (it gives shapes and dtypes). Several processes compute a part each, into one
    file. Raises `NotRememberedError` rather than fill the disk.
    """
    values = values_of(sample)
    paths = [folder / f"{number}.bin" for number in range(len(values))]
    with _on_disk(folder):
        sizes = [photos * value.row_bytes for value in values]
        seconds = by_first(lambda: _seconds_of_whole(folder, paths, sizes))
        if seconds is None:
            reserve({folder: sum(sizes)})
            seconds = _compute(folder, paths, photos, compute)
        by_first((folder / COMPLETE).touch)  # when it was last used
        maps = [
            np.memmap(path, np.uint8, mode="c", shape=(photos, value.row_bytes))  # torch warns of read-only arrays
            for path, value in zip(paths, values, strict=True)
        ]
    return Features(values, tuple(maps), seconds)


def _compute(folder: Path, paths: list[Path], photos: int, compute: "Computed") -> float:
    """Returns the seconds that it took."""
    start = time.monotonic()
    if ranks() == 1:
        checksums = _write(paths, compute(range(photos)), photos)
    else:
        parts = [[path.with_name(f"{path.name}.{number}") for path in paths] for number in range(ranks())]
        rows = part(photos, PREDICTION_BATCH)
        by_all(lambda: _write(parts[rank()], compute(rows), len(rows)))
        checksums = by_first(lambda: _join(parts, paths))
    seconds = time.monotonic() - start
    whole = {"photos": photos, "seconds": seconds, "checksums": checksums}
    by_first(lambda: write_json(folder / COMPLETE, whole))
    return seconds


def _join(parts: Sequence[Sequence[Path]], paths: Sequence[Path]) -> list[int]:
    """Files of the parts' rows one after the other; returns their checksums."""
    for number, path in enumerate(paths):
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            for part_files in parts:
                with part_files[number].open("rb") as rows:
                    shutil.copyfileobj(rows, file)
                part_files[number].unlink()
    return [_checksum(path) for path in paths]


def hold(photos: int, sample: Sequence[torch.Tensor], batches: Iterable[Sequence[torch.Tensor]]) -> Features:
    """The same in memory, for this run alone."""
    values, start, done = values_of(sample), time.monotonic(), 0
    maps = [np.empty((photos, value.row_bytes), np.uint8) for value in values]
    for batch in batches:
        for rows, tensor in zip(maps, batch, strict=True):
            rows[done : done + len(tensor)] = _bytes(tensor).reshape(len(tensor), -1)
        done += len(batch[0])
    _check_count(done, photos)
    return Features(values, tuple(maps), time.monotonic() - start)


def values_of(sample: Sequence[torch.Tensor]) -> tuple[Value, ...]:
    """The shapes and dtypes of a batch of features."""
    return tuple(Value(tuple(value.shape[1:]), value.dtype) for value in sample)


def reserve(sizes: Mapping[Path, int]) -> None:
    """See that the features of all these folders fit on disk, in bytes, before the first of them is computed.

    Drops the least recently used features of others until what is missing fits under the limit. Raises
    `NotRememberedError` where it does not, or takes more than half of the free disk.
    """
    by_first(lambda: _reserve(sizes))


def _reserve(sizes: Mapping[Path, int]) -> None:
    cache = next(iter(sizes)).parent
    needed = sum(size for folder, size in sizes.items() if not (folder / COMPLETE).is_file())
    with _on_disk(cache):
        cache.mkdir(parents=True, exist_ok=True)
        entries = sorted(cache.glob(f"*/{COMPLETE}"), key=lambda path: (path.stat().st_mtime, path))
        taken = {
            entry.parent: sum(file.stat().st_size for file in entry.parent.iterdir() if file.is_file())
            for entry in entries
        }
        for folder in [folder for folder in taken if folder not in sizes]:
            if sum(taken.values()) + needed <= LIMIT_BYTES:
                break
            if _drop(folder):
                del taken[folder]
        free = shutil.disk_usage(cache).free
        allowed = min(LIMIT_BYTES - sum(taken.values()), int(free * SHARE_OF_FREE_DISK))
    if needed > allowed:
        raise NotRememberedError(
            f"{needed / 1e6:,.0f} MB of features, and {max(0, allowed) / 1e6:,.0f} MB may be used of the "
            f"{free / 1e6:,.0f} MB free in {cache}"
        )


def _seconds_of_whole(folder: Path, paths: Sequence[Path], sizes: Sequence[int]) -> float | None:
    """What the features in `folder` took to compute; None where there are none, or none that are as they were."""
    if not (folder / COMPLETE).is_file():
        return None
    try:
        known = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        if [path.stat().st_size for path in paths] == sizes and list(map(_checksum, paths)) == known["checksums"]:
            return float(known["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    (folder / COMPLETE).unlink()
    print(f"features: {folder} was damaged on disk and is computed again", file=sys.stderr, flush=True)
    return None


def _checksum(path: Path) -> int:
    return zlib.crc32(np.memmap(path, dtype=np.uint8, mode="r").data) if path.stat().st_size else 0


def _write(paths: list[Path], batches: Iterable[Sequence[torch.Tensor]], photos: int) -> list[int]:
    """Returns the files' checksums."""
    checksums, written = [0] * len(paths), 0
    with ExitStack() as stack:
        temporaries = [stack.enter_context(atomic_path(path)) for path in paths]
        files = [stack.enter_context(temporary.open("wb")) for temporary in temporaries]
        for batch in batches:
            for number, (file, tensor) in enumerate(zip(files, batch, strict=True)):
                data = _bytes(tensor).data
                file.write(data)
                checksums[number] = zlib.crc32(data, checksums[number])
            written += len(batch[0])
        _check_count(written, photos)
    return checksums


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    flat: np.ndarray = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return flat


def _check_count(rows: int, photos: int) -> None:
    if rows != photos:
        raise RuntimeError(f"{rows} rows of features for {photos} photos")


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotRememberedError(f"{folder} cannot be used ({error.strerror or error})") from None


def _drop(folder: Path) -> bool:
    """Remove features, all of them or none: Windows keeps those that are mapped. Returns whether they are gone."""
    gone = folder.with_name(f"{folder.name}.gone")
    try:
        folder.rename(gone)
    except PermissionError:
        return False
    shutil.rmtree(gone)
    return True
