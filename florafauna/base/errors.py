"""What ends a program early, and how the user is told: one sentence, on one line."""

import errno
import io
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # the exit code of shells for a program that Ctrl-C ended
OF_THE_SYSTEM = {
    errno.EACCES: "permission denied; give this user access, close the file in other programs, or name another place",
    errno.EPERM: "the operation is not permitted; give this user access, or name another place",
    errno.EROFS: "the file system is read-only; name another place",
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
}


class UserError(Exception):
    """Bad input: the message is one sentence that says what is wrong, where, and what to do."""


@contextmanager
def one_sentence_on_error() -> Iterator[None]:
    """End the process with one line on stderr, without a traceback, where the fault is not the program's.

    Exit code 1 for `UserError`, a refused access and a full disk; 130 for Ctrl-C and SIGTERM, which end it alike.
    Programs run within it, so it also has them print what the console cannot show as '?'.
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
        _end(f"{where}{OF_THE_SYSTEM[error.errno]}.", 1)


def plain_line(text: str) -> str:
    r"""Text for one line of a terminal: white space as single spaces, control characters as `\xNN`.

    Labels and file names are other people's: an escape sequence in one could clear the screen or type commands.
    """
    text = " ".join(text.split()).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(char):02x}" if unicodedata.category(char) == "Cc" else char for char in text)


def _end(sentence: str, code: int) -> None:
    print(f"florafauna: {plain_line(sentence)}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `KeyboardInterrupt`, so that what Ctrl-C would clean up is cleaned up."""
    in_main = threading.current_thread() is threading.main_thread()  # others may not set handlers
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
