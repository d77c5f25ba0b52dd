"""`florafauna` that dies by SIGKILL when it opens a file of the given name: python die.py NAME ARGUMENTS..."""

import os
import signal
import sys

from florafauna.commands.cli import main


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and str(arguments[0]).endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.addaudithook(hook)
    main(sys.argv[2:])
