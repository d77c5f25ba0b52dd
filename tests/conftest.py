"""What every test shares: where the repository is, and the real photos and weights that may lie beside it."""

from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure; the same examples every time, so that CI fails for changes alone.
settings.register_profile("florafauna", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("florafauna")

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST = ("tests/ci", "tests/pipeline", "tests/training")  # first, so that none of their files is left at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders with the longest tests come first; files stay together."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture
def repository() -> Path:
    """The root of the checkout under test."""
    return REPOSITORY


@pytest.fixture
def shared() -> Path:
    """The folder of real photos and real weights beside the checkout; the test skips where it is absent."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "photos").is_dir() or not (folder / "weights").is_dir():
        pytest.skip("the real photos and weights (../shared) are not on this machine")
    return folder
