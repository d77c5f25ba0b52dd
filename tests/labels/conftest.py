"""Label files beside the photos, and the committed ones of the formats."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FORMATS = Path(__file__).resolve().parents[1] / "fixtures" / "formats"


@pytest.fixture
def label_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a label file beside the photos, and return it."""

    def write(text: str | bytes, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def fixture_of(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a committed label file or folder, apart from the photos."""

    def copy(name: str) -> Path:
        source, target = FORMATS / name, tmp_path / "labels" / name
        target.parent.mkdir(exist_ok=True)
        return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))

    return copy
