"""OUT.part: the finished batches, one checksummed line each, flushed to disk; a killed prediction resumes from them."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_bytes
from florafauna.base.locks import OPEN_FILES_MOVE, lock

Row = dict[str, Any]
DIGEST = 64  # characters of a SHA-256 in hex


class Part:
    """Rows of finished batches, in order, for one `header` (what they depend on); one process at a time has it open.

    `done` is the number of rows found that are still valid. `lost` says in a few words why others were dropped, or is
    "". All batches from the first damaged or stale one on are dropped, because later batches depend on earlier ones.
    """

    def __init__(self, path: Path, header: dict[str, Any], is_stale: Callable[[int, Row], bool]) -> None:
        """`is_stale(number, row)`: whether photo `number` has changed since `row` was computed.

        `UserError` if another process has the file open, or if it cannot be written.
        """
        self.path, self.done, self.lost = path, 0, ""
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_locked(path)
            end = self._resume(header, is_stale)
            self._file.truncate(end)
            self._file.seek(end)
        if not end:
            self._write(header)

    def __enter__(self) -> Self:
        """Does nothing: `__init__` has opened the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, rows: list[Row]) -> None:
        """Append a batch; it is on disk when this returns."""
        self._write({"first": self.done, "rows": rows})
        self.done += len(rows)

    def rows(self) -> Iterator[Row]:
        """All rows, from the first."""
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                batch = _parsed(line)
                if batch is None:
                    raise UserError(f"{self.path} was changed while it was being written; run the same command again.")
                yield from batch["rows"]

    def remove(self) -> None:
        """Delete the file when it is no longer needed."""
        try:
            self.path.unlink()
        except PermissionError:  # Windows does not delete open files
            self._file.close()
            self.path.unlink(missing_ok=True)

    def _resume(self, header: dict[str, Any], is_stale: Callable[[int, Row], bool]) -> int:
        """Set `done` and `lost`; returns the number of valid bytes."""
        first = self._file.readline()
        if not first:
            return 0
        found = _parsed(first)
        if found != header:
            self.lost = "is damaged" if found is None else "is of other photos, another model or other options"
            return 0
        end = len(first)
        for line in self._file:
            batch = _parsed(line)
            if batch is None or batch.get("first") != self.done:
                if line.endswith(b"\n"):  # else the process was killed while writing it
                    self.lost = "is damaged"
                break
            rows = list(enumerate(batch["rows"], start=self.done))
            if any(is_stale(number, row) for number, row in rows):
                self.lost = "holds photos that have changed since"
                break
            self.done, end = self.done + len(rows), end + len(line)
        return end

    def _write(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        with self._writing():
            self._file.write(f"{sha256_bytes(text)} ".encode() + text + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from None


def open_locked(path: Path) -> BinaryIO:
    """The file, made where there is none, for this process alone; `UserError` while another has it open."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        try:
            lock(file.fileno())
        except BlockingIOError:
            file.close()
            in_use = f"{path} is in use by another prediction; wait for it to end, or choose another --out."
            raise UserError(in_use) from None
        except OSError:
            pass  # some network file systems have no locks
        try:
            if not OPEN_FILES_MOVE or os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        # The other prediction ended, and removed it, after it was opened here and before it was locked. (Not where
        # nobody removes what is open.)
        file.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The content of a line; None if its checksum differs."""
    text = line[DIGEST + 1 :].removesuffix(b"\n")
    if not line.endswith(b"\n") or line[: DIGEST + 1] != f"{sha256_bytes(text)} ".encode():
        return None
    value = json.loads(text)
    return value if isinstance(value, dict) else None
