"""Progress of long work: a bar in a terminal, a line every ten seconds in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items of `iterable` and show how many of `total` are done; in a log, nothing for the first 10 s."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        yield from _track_on_terminal(iterable, description, total)
    else:
        yield from _track_in_log(iterable, description, total)


def _track_on_terminal(iterable: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(iterable, description, total=total, console=Console(stderr=True))


def _track_in_log(iterable: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(iterable):
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            of = f" of {total}" if total is not None else ""
            print(f"{description}: {done}{of}, {done / (now - start):.1f}/s", file=sys.stderr, flush=True)
            last = now
        yield item
