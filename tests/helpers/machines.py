"""Marks for what not every machine has."""

import sys

import pytest

needs_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such signals, pipes, permissions or names, and links need a right"
)
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has /proc")
