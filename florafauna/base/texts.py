"""A column of text kept in Arrow: a list of strings would take four times the memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import pandas as pd
import pyarrow as pa

if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    # Arrow's own pool keeps memory that tables have freed: half as much again as a split of 100,000 photos needs.
    pa.set_memory_pool(pa.system_memory_pool())

AT_ONCE = 10_000  # rows that are converted to Python objects at a time


class Texts(Sequence[str]):
    """A sequence of strings, each created when it is accessed."""

    def __init__(self, column: pa.LargeStringArray) -> None:
        self._column = column

    @classmethod
    def of(cls, column: pd.Series) -> "Texts":
        """The texts of a column of a table."""
        return cls(pa.array(column, pa.large_string()))

    @classmethod
    def of_parts(cls, parts: Iterable[pa.Array]) -> "Texts":
        """The texts of a column that is read in chunks."""
        whole = pa.chunked_array([part.cast(pa.large_string()) for part in parts], pa.large_string())
        return cls(whole.combine_chunks())

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        found = self._column[at]
        return found.to_pylist() if isinstance(at, slice) else found.as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]
