"""What every test shares: where the repository is, and the real photos and weights that may lie beside it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A slow machine is no failure; the same examples every time, so that CI fails for changes alone.
settings.register_profile("florafauna", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("florafauna")

REPOSITORY = Path(__file__).resolve().parent.parent
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LONGEST = ("tests/ci", "tests/pipeline", "tests/training")  # first, so that none of their files is left at the end


def pytest_configure(config: pytest.Config) -> None:
    """Tests promise what holds on a CPU, on every machine; those of a GPU are run apart: `make test-gpu`."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


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


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Playwright's own Chromium, or the one of the machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        for path in (None, *filter(None, map(shutil.which, SYSTEM_BROWSERS))):
            try:
                opened = driver.chromium.launch(executable_path=path)
            except playwright.Error:
                continue
            yield opened
            opened.close()
            return
        pytest.skip("no Chromium is on this machine; `playwright install chromium` fetches one")
