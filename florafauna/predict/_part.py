"""OUT.part: the finished batches, one JSON line each, flushed to the disk; a killed prediction goes on behind them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Part:
    """Rows of finished batches, in order, for one `header` (what they depend on)."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Take up what is there: `done` rows; `restarted` says that it was made for something else and is dropped."""
        self.path = path
        self.done, end, found = 0, 0, False
        if path.is_file():
            found, self.done, end = _valid(path, header)
        self.restarted = path.is_file() and not found
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("r+b" if found else "wb")
        self._file.truncate(end)  # a line that the kill cut off
        self._file.seek(end)
        if not found:
            self._write(header)

    def add(self, rows: list[Row]) -> None:
        """Append a batch, on the disk when this returns."""
        self._write({"first": self.done, "rows": rows})
        self.done += len(rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def rows_of(path: Path) -> Iterator[Row]:
    """All rows of a finished part."""
    with path.open("rb") as file:
        next(file)
        for line in file:
            yield from json.loads(line)["rows"]


def _valid(path: Path, header: dict[str, Any]) -> tuple[bool, int, int]:
    """Whether the part has this header, and how many rows and bytes of it are whole."""
    with path.open("rb") as file:
        first = file.readline()
        if _parsed(first) != header:
            return False, 0, 0
        done, end = 0, len(first)
        for line in file:
            batch = _parsed(line)
            if batch is None or batch.get("first") != done:
                break
            done, end = done + len(batch["rows"]), end + len(line)
    return True, done, end


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
