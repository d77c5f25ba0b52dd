"""`florafauna` where some modules cannot be imported: python without.py torch,timm ARGUMENTS..."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

NAMES = sys.argv[1].split(",")


class Without(MetaPathFinder):
    """Says of the modules that they are not there."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """See `MetaPathFinder`."""
        if name.partition(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Without())
    from florafauna.commands.cli import main

    code = main(sys.argv[2:])
    assert not set(NAMES) & set(sys.modules)
    raise SystemExit(code)
