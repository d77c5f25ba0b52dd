"""A stage that gets a signal: python -m dying SIGKILL|SIGINT|SIGTERM operation|millisecond|never NUMBER MODULE ...

It comes before the file operation of that number, or after so many milliseconds. A run that comes to its end says how
many operations and milliseconds it took.
"""

import os
import runpy
import signal
import sys
import time

CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "sqlite3.connect")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OWN = os.getpid()
_done = 0


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Count what changes files, of this process alone, and signal it before that of the given number."""
    global _done
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if (writes or event in CHANGES) and os.getpid() == OWN:
        _done += 1
        if (unit, _done) == ("operation", number):
            os.kill(OWN, by)


def ended() -> None:
    """Say what a run took."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"{_done} operations, {(time.monotonic() - start) * 1000:.0f} ms", file=sys.stderr)


if __name__ == "__main__":
    by, unit, number = signal.Signals[sys.argv[1]], sys.argv[2], int(sys.argv[3])
    sys.argv = sys.argv[4:]
    sys.addaudithook(hook)
    if unit == "millisecond":
        # nobody handles it: it ends the process at once, as SIGKILL does
        handler = signal.SIG_DFL if by == signal.SIGKILL else lambda number, frame: os.kill(OWN, by)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, number / 1000)
    start = time.monotonic()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        ended()
