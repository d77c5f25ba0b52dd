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

pytest_plugins = ["helpers.fixtures"]

REPOSITORY = Path(__file__).resolve().parent.parent
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# What `make test-quick` leaves out, the longest first: files are handed to the two processes in this order, so that
# none is left alone at the end. A training comes second, as ci would wait for the first run that pipeline makes.
SLOW = (
    "tests/pipeline/test_versioning.py",
    "tests/training/test_train.py",
    "tests/ci/test_pull_request.py",
    "tests/training",
    "tests/ci",
    "tests/pipeline",
    "tests/faults",
    "tests/predict",
    "tests/serve",
    "tests/benchmarks",
    "tests/test_machines.py",
    "tests/split/test_conflicts.py",
    "tests/compare/test_browser.py",
    "tests/compare/test_comparison.py",
    "tests/audit/test_audit_cache.py",
    "tests/scores/test_bootstrap.py",
    "tests/base/test_metrics.py",
)

# Threads of torch and scikit-learn wait for each other asleep: spinning, they take the core of the process beside them.
# Read when torch is imported; child processes inherit it. No result depends on it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config: pytest.Config) -> None:
    """Tests promise what holds on a CPU, on every machine; those of a GPU are run apart: `make test-gpu`."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if gone := [path for path in SLOW if not (REPOSITORY / path).exists()]:
        raise pytest.UsageError(f"tests/conftest.py names slow tests that are not there: {', '.join(gone)}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests and put them first; the tests of a file stay together."""

    def place(item: pytest.Item) -> int:
        return next((place for place, path in enumerate(SLOW) if item.nodeid.startswith(path)), len(SLOW))

    for item in items:
        if place(item) < len(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=place)


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
