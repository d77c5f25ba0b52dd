"""`florafauna` that is hit by a signal when it opens a file of the given name: python die.py NAME ARGUMENTS...

The signal is that of the environment variable BY, SIGKILL without it.
"""

import os
import signal
import sys

from florafauna.commands.cli import main


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and str(arguments[0]).endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.Signals[os.environ.get("BY", "SIGKILL")])


if __name__ == "__main__":
    sys.addaudithook(hook)
    raise SystemExit(main(sys.argv[2:]))
