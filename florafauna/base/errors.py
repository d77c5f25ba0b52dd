"""What ends a program early, and how the user is told: one sentence, on one line."""

import errno
import io
import os
import shutil
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

INTERRUPTED = 130  # the exit code of shells for a program that Ctrl-C ended
OF_THE_SYSTEM = {
    errno.EACCES: "permission denied; give this user access, close the file in other programs, or name another place",
    errno.EPERM: "the operation is not permitted; give this user access, or name another place",
    errno.EROFS: "the file system is read-only; name another place",
    errno.EEXIST: "a file lies where a folder has to be; move it away and run the same command again",
    errno.ENOTDIR: "a file lies where a folder has to be; move it away and run the same command again",
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
}


class UserError(Exception):
    """Bad input: the message is one sentence that says what is wrong, where, and what to do."""


@contextmanager
def one_sentence_on_error() -> Iterator[None]:
    """End the process with one line on stderr instead of a traceback, where the program is not at fault.

    The exit code is 1 for `UserError`, a denied permission or a full disk, and 130 for Ctrl-C or SIGTERM. What the
    console cannot show is printed as '?'.

    >>> with one_sentence_on_error():
    ...     raise UserError("data/raw is missing; set data.root in params.yaml.")
    Traceback (most recent call last):
    SystemExit: 1
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Windows' code pages lack most characters; stderr escapes them
    try:
        with _sigterm_as_interrupt():
            yield
    except UserError as error:
        _end(str(error), 1)
    except KeyboardInterrupt:
        _end("interrupted.", INTERRUPTED)
    except OSError as error:
        if error.errno not in OF_THE_SYSTEM:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{OF_THE_SYSTEM[error.errno]}{_room_of(error)}.", 1)


def plain_line(text: str) -> str:
    r"""Text for one line of a terminal: runs of white space become one space, control characters `\xNN`.

    Labels and file names come from other people: an escape sequence in one could clear the screen or type commands.
    """
    text = " ".join(text.split()).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(char):02x}" if unicodedata.category(char) == "Cc" else char for char in text)


def _room_of(error: OSError) -> str:
    """How much room there is where the disk is full, as far as the error says where."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not error.filename:
        return ""
    folder = next(each for each in Path(os.fsdecode(error.filename)).absolute().parents if each.is_dir())
    room = shutil.disk_usage(folder)
    return f" ({room.free / 1e6:,.1f} of {room.total / 1e6:,.0f} MB are free in {folder})"


def _end(sentence: str, code: int) -> None:
    print(f"florafauna: {plain_line(sentence)}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `KeyboardInterrupt`, so that the same clean-up happens as after Ctrl-C."""
    in_main = threading.current_thread() is threading.main_thread()  # other threads may not set handlers
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
