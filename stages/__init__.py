"""The stages: read params, make one library call, write the outs."""

import sys
from importlib.util import find_spec
from types import TracebackType

# `dvc repro` starts `python`: unless the environment is active, another one, which would end in a traceback.
missing = [name for name in ("pydantic", "pandas", "torch", "timm") if find_spec(name) is None]
if missing:
    sys.exit(
        f"florafauna: this Python ({sys.executable}) has no {missing[0]}; activate the environment that has it, "
        "e.g. `. .venv/bin/activate` after `make setup`, and run the command again."
    )

from florafauna.base.cores import share_cores  # noqa: E402 where it can be imported

share_cores()  # before torch is loaded


def _one_line_on_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while libraries are imported, which takes seconds, is one line as well."""
    if issubclass(kind, KeyboardInterrupt):
        print("florafauna: interrupted.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _one_line_on_interrupt
