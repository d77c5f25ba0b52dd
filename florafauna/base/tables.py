"""Tables of millions of rows in little memory.

Text and arrays lie in temporary files that are mapped: memory that others can have when they need it.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from florafauna.base.texts import Texts

ROWS = 1 << 16  # of a table that are written, or filtered, at a time


def spilled(parts: Callable[[], Iterator[pd.DataFrame]], folder: Path | None = None) -> pd.DataFrame:
    """The rows of `parts()`, tables of equal columns, as one table whose text lies on the disk, in `folder` or where
    the system keeps temporary files; in memory where there is no room. Rows are numbered from 0. No value is missing.

    >>> table = pd.DataFrame({"path": ["b", "a"], "width": [4, 3]})
    >>> spilled(lambda: parts_of(table, np.array([False, True])))
      path  width
    0    a      3
    """
    try:
        return _on_disk(parts(), folder)
    except OSError:
        return pd.concat(list(parts()), ignore_index=True)


def _on_disk(parts: Iterator[pd.DataFrame], folder: Path | None) -> pd.DataFrame:
    first = next(parts)
    texts = [*first.select_dtypes(["str", "object"])]
    others = [name for name in first.columns if name not in texts]
    schema = pa.schema([(name, pa.large_string()) for name in texts])
    with ExitStack() as files:
        numbers = [files.enter_context(_temporary(folder)) for _ in others]

        def batches() -> Iterator[pa.RecordBatch]:
            for part in chain([first], parts):
                for name, file in zip(others, numbers, strict=True):
                    file.write(part[name].to_numpy().tobytes())
                yield pa.record_batch([_array(part[name]) for name in texts], schema=schema)

        mapped = mapped_table(batches(), schema, folder)
        columns: dict[str, Any] = {name: pd.array(mapped[name], dtype="str") for name in texts}
        for name, file in zip(others, numbers, strict=True):
            columns[name] = np.frombuffer(_mapped(file), first[name].to_numpy().dtype)
    return pd.DataFrame({name: columns[name] for name in first.columns}, copy=False)


def mapped_table(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path | None) -> pa.Table:
    """An Arrow table on the disk; `OSError` where there is no room."""
    with _temporary(folder) as file:
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write(batch)
        return pa.ipc.open_file(pa.py_buffer(_mapped(file))).read_all()


def _mapped(file: IO[bytes]) -> mmap.mmap | bytearray:
    """What was written; what is written over it later stays in memory."""
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if file.tell() else bytearray()


def _array(texts: pd.Series) -> pa.LargeStringArray:
    array = pa.array(texts, pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def parts_of(table: pd.DataFrame, chosen: npt.NDArray[np.bool_] | None = None) -> Iterator[pd.DataFrame]:
    """A table, or the `chosen` of its rows, in parts; at least one."""
    for start in range(0, max(len(table), 1), ROWS):
        part = table.iloc[start : start + ROWS]
        yield part if chosen is None else part[chosen[start : start + ROWS]]


def rows_where(table: pd.DataFrame, chosen: npt.ArrayLike) -> pd.DataFrame:
    """`table[chosen]`, with the table itself where all rows are chosen, as most often: a selection is a copy."""
    mask = np.asarray(chosen, dtype=bool)
    return table if mask.all() else table[mask]


def numbered(texts: pd.Series) -> tuple[npt.NDArray[np.int64], Texts]:
    """`pd.factorize(texts, sort=True)` in half the memory: the number of each text, and the different texts, sorted."""
    values = _array(texts)
    order = pc.array_sort_indices(values)
    ordered = values.take(order)
    new = np.append(True, pc.not_equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False))[: len(ordered)]
    numbers = np.empty(len(ordered), np.int64)
    numbers[order.to_numpy()] = np.cumsum(new) - 1
    return numbers, Texts(ordered.filter(pa.array(new)))


def hashes(texts: Sequence[str] | pd.Series) -> npt.NDArray[np.uint64]:
    """A number for each text, equal for equal ones."""
    return hash_array(np.asarray(texts, dtype=object))


def repeated(texts: pd.Series) -> npt.NDArray[np.bool_]:
    """`texts.duplicated(keep=False)` in 16 bytes a row, as most often none is."""
    parts = (texts.iloc[start : start + ROWS] for start in range(0, len(texts), ROWS))
    numbers = np.concatenate([np.zeros(0, np.uint64), *map(hashes, parts)])
    ordered = np.sort(numbers)
    several = ordered[1:][ordered[1:] == ordered[:-1]]
    found = np.isin(numbers, several) if len(several) else np.zeros(len(texts), dtype=bool)
    found[found] = texts[found].duplicated(keep=False)  # unequal texts may have one hash
    return found


def sorted_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """`table.sort_values(column, ignore_index=True)` for a column of text, without a copy where it is sorted."""
    texts = pa.array(table[column], pa.large_string())
    if pc.all(pc.less_equal(texts[:-1], texts[1:])).as_py() is not False:
        return table.reset_index(drop=True)
    return table.sort_values(column, ignore_index=True)


def mapped_zeros(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None) -> npt.NDArray[Any]:
    """An array of zeros on the disk, as `spilled` has its text there; in memory where there is no room."""
    if 0 in shape:
        return np.zeros(shape, dtype)
    try:
        with _temporary(folder) as file:
            if hasattr(os, "posix_fallocate"):  # a page that a full disk has no room for would end the process (SIGBUS)
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * dtype.itemsize)
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
    except OSError:
        return np.zeros(shape, dtype)


def _temporary(folder: Path | None) -> IO[bytes]:
    """A file without a name, in `folder`, which is made where it can be."""
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=folder)
    return tempfile.TemporaryFile()
