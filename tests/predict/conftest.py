"""The command line, on the plugin's tiny bundle."""

from collections.abc import Callable
from pathlib import Path

import pytest

from florafauna.commands.cli import main

Run = Callable[..., int]


@pytest.fixture
def run(bundle: Path) -> Run:
    """`florafauna predict` with the tiny model; returns the exit code."""

    def predict(*arguments: object) -> int:
        return main(["predict", "--bundle", str(bundle), *map(str, arguments)])

    return predict
