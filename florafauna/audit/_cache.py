"""What earlier audits found, by content, in one SQLite file; where it cannot be used, that is said and nothing kept.

SQLite commits whole transactions or nothing, so a killed audit keeps what it had done, and it is read row by row:
memory does not grow with the number of photos remembered.
"""

import json
import sqlite3
import sys
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from florafauna.audit.examine import Content
from florafauna.base.tables import ROWS, hashes
from florafauna.photos.kinds import printable
from florafauna.photos.status import Status

FILE_NAME = "audit.sqlite"
LOCKED_SECONDS = 30.0  # how long another process may hold the file
KEPT_DAYS = 90  # content that no audit met for so long is dropped; until then a branch switch or an undo costs nothing
REFRESHED_DAYS = 7  # how stale the day of last use may be, so that an audit of known photos hardly writes
SECONDS_BETWEEN_COMMITS = 2.0
MOST_PENDING = 1024  # files: each may touch two pages of its own, which stay in memory until they are committed

# A file changed within this time of being read may change again without a new modification time (git's "racy" rule).
RACY_NANOSECONDS = 2_000_000_000

_FACTS = Content._fields
_FLAT = _FACTS.index("flat")
_SCHEMA = f"""
CREATE TABLE version (text TEXT NOT NULL);
CREATE TABLE content (sha256 TEXT PRIMARY KEY, {", ".join(_FACTS)}, checksum, used INTEGER NOT NULL)
WITHOUT ROWID;
CREATE TABLE seen (
    origin TEXT, path TEXT, {", ".join(f"{name} INTEGER" for name in Status._fields)}, sha256 TEXT,
    PRIMARY KEY (origin, path)
) WITHOUT ROWID;
CREATE TABLE pruned (origin TEXT PRIMARY KEY, day INTEGER NOT NULL);
"""


class File(NamedTuple):  # a frozen dataclass takes four times as long to make
    """A file as it was read: SHA-256 ("" where it could not be), status, time in ns since the epoch, its content."""

    path: str
    sha256: str
    status: Status
    read_at: int
    content: Content


class AuditCache:
    """Facts by content (`content`), and by name and status (`recall`). `folder` None remembers nothing after close.

    `version` names what facts depend on besides the content; entries of another version are dropped. Where the file
    cannot be used one line on stderr says so, unless `quiet`.
    """

    def __init__(
        self,
        folder: Path | None,
        version: str,
        today: int | None = None,
        quiet: bool = False,
        locked_seconds: float = LOCKED_SECONDS,
    ) -> None:
        self.folder = folder
        self._version, self._quiet, self._locked_seconds = version, quiet, locked_seconds
        self._today = int(time.time() // 86_400) if today is None else today
        self._committed, self._pending = time.monotonic(), 0
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commit()
        self._connection.close()

    def content(self, sha256: str) -> Content | None:
        """The facts of the content with this SHA-256."""
        rows = self._run(f"SELECT {', '.join(_FACTS)}, checksum FROM content WHERE sha256 = ?", (sha256,))
        return _content(sha256, rows[0]) if rows else None

    def recall(self, origin: str, status: dict[str, Status]) -> dict[str, File]:
        """The facts of files whose `status`, by path, is the one that was remembered."""
        columns = ", ".join([*Status._fields, *(f"content.{name}" for name in _FACTS)])
        rows = self._run(
            f"SELECT seen.path, seen.sha256, {columns}, checksum FROM json_each(?) AS asked "
            "CROSS JOIN seen ON origin = ? AND seen.path = asked.value CROSS JOIN content USING (sha256)",
            (json.dumps(list(status)), origin),
        )
        files = {}
        for path, sha256, *row in rows:
            known = tuple(row[: len(Status._fields)])
            content = _content(sha256, row[len(known) :]) if status.get(path) == known else None
            if content is not None:
                files[path] = File(path, sha256, status[path], 0, content)
        return files

    def remember(self, origin: str, files: Sequence[File]) -> None:
        """Keep the facts of files that were read."""
        marks = ", ".join("?" * (len(_FACTS) + 3))
        self._run_many(
            f"INSERT OR REPLACE INTO content VALUES ({marks})",
            [(file.sha256, *_row(file), self._today) for file in files],
        )
        self._run_many(
            f"INSERT OR REPLACE INTO seen VALUES (?, ?, {', '.join('?' * len(Status._fields))}, ?)",
            [
                (origin, file.path, *file.status, file.sha256)
                for file in files
                if file.read_at - file.status.modified > RACY_NANOSECONDS
            ],
        )
        self._pending += len(files)
        if self._pending > MOST_PENDING or time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
            self._commit()
            self._committed, self._pending = time.monotonic(), 0

    def prune(self, origin: str, paths: Sequence[str]) -> None:
        """Forget files of `origin` that are not among `paths`, and content that has not been met for KEPT_DAYS.

        Once a day, for it reads all that is remembered.
        """
        if self._run("SELECT day FROM pruned WHERE origin = ? AND day = ?", (origin, self._today)):
            return
        self._run("INSERT OR REPLACE INTO pruned VALUES (?, ?)", (origin, self._today))
        gone = [(origin, path) for path in self._not_among(paths, origin)]
        self._run_many("DELETE FROM seen WHERE origin = ? AND path = ?", gone)
        self._run(
            "UPDATE content SET used = ? WHERE used < ? AND sha256 IN (SELECT sha256 FROM seen WHERE origin = ?)",
            (self._today, self._today - REFRESHED_DAYS, origin),
        )
        self._run("DELETE FROM content WHERE used < ?", (self._today - KEPT_DAYS,))
        self._run("DELETE FROM seen WHERE sha256 NOT IN (SELECT sha256 FROM content)", ())

    def _not_among(self, paths: Sequence[str], origin: str) -> list[str]:
        """The remembered paths of `origin` that are not among `paths`, but for the odd one whose hash one of them has:
        hashes take a tenth of what a set of paths would."""
        parts = ([*map(printable, paths[start : start + ROWS])] for start in range(0, len(paths), ROWS))
        there = np.sort(np.concatenate([np.zeros(0, np.uint64), *map(hashes, parts)]))
        gone: list[str] = []
        try:
            seen = self._connection.execute("SELECT path FROM seen WHERE origin = ?", (origin,))
            while some := [path for (path,) in seen.fetchmany(ROWS)]:
                gone += (some[at] for at in np.flatnonzero(~np.isin(hashes(some), there)))
        except sqlite3.Error as error:
            self._go_on_without(error)
        return gone

    def _open(self) -> sqlite3.Connection:
        """The cache file, made anew where it is missing, broken or of another version; else memory alone."""
        if self.folder is not None:
            for _ in range(2):
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    return self._connect(str(self.folder / FILE_NAME))
                except sqlite3.OperationalError as error:  # locked or read-only: not ours to remove
                    return self._in_memory(error)
                except sqlite3.DatabaseError as error:
                    self._say(f"is damaged ({error}) and made anew: all photos are examined again")
                    _remove(self.folder)
                except OSError as error:
                    return self._in_memory(error)
        return self._connect(":memory:")

    def _connect(self, name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(name, timeout=self._locked_seconds)
        try:
            tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            current = "version" in tables and connection.execute("SELECT text FROM version").fetchall()
            if current != [(self._version,)]:
                for table in tables:
                    connection.execute(f'DROP TABLE "{table}"')
                connection.executescript(_SCHEMA)
                connection.execute("INSERT INTO version VALUES (?)", (self._version,))
                connection.commit()
            # A write whose pages spill to the file locks out the workers that read, and the audit waits for them.
            connection.execute("PRAGMA cache_spill = OFF")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _run(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self._go_on_without(error)
            return []

    def _run_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            self._go_on_without(error)

    def _commit(self) -> None:
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            self._go_on_without(error)

    def _go_on_without(self, error: sqlite3.Error) -> None:
        """A damaged page, a lock or a full disk shows only when it is met. Only a damaged file is removed."""
        with suppress(sqlite3.Error):
            self._connection.close()
        damaged = self.folder if not isinstance(error, sqlite3.OperationalError) else None
        self._connection = self._in_memory(error)
        if damaged is not None:
            _remove(damaged)

    def _in_memory(self, error: Exception) -> sqlite3.Connection:
        """A cache that nothing outlives."""
        self._say(f"cannot be used ({error}): nothing new is remembered, and the next run examines it again")
        self.folder = None
        return self._connect(":memory:")

    def _say(self, what: str) -> None:
        if self.folder is not None and not self._quiet:
            print(f"audit: {self.folder / FILE_NAME} {what}", file=sys.stderr, flush=True)
            self._quiet = True


def _remove(folder: Path) -> None:
    """The file and the journal of an unfinished transaction, which would be played back into the next file."""
    for name in (FILE_NAME, f"{FILE_NAME}-journal"):
        with suppress(OSError):
            (folder / name).unlink()


def _row(file: File) -> tuple[Any, ...]:
    facts = tuple(str(fact) if isinstance(fact, str) else fact for fact in file.content)  # a Reason as text
    return *facts, _checksum(file.sha256, facts)


def _content(sha256: str, row: Sequence[Any]) -> Content | None:
    """The facts of a row as `_row` made it; None where the disk has changed it, which SQLite does not check."""
    *facts, checksum = row
    facts[_FLAT] = bool(facts[_FLAT])
    try:
        return Content(*facts) if checksum == _checksum(sha256, facts) else None
    except TypeError:  # other types than were written
        return None


def _checksum(sha256: str, facts: Sequence[Any]) -> int:
    reason, detail, form, mode, taken, side, width, height, flat, *digests = facts
    short = f"{sha256}\0{reason}\0{detail}\0{form}\0{mode}\0{taken}\0{side}\0{width}\0{height}\0{flat}"
    checksum = zlib.crc32(short.encode("utf-8", "backslashreplace"))
    for digest in digests:  # hashes, thumbnail, pixels
        checksum = zlib.crc32(digest, checksum)
    return checksum
