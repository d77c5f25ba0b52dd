"""Folders of tiny photos to read, and the committed label files of the formats."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

FORMATS = Path(__file__).resolve().parents[1] / "fixtures" / "formats"


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A JPEG of 8 × 8 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (30, 120, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def make_photos(tmp_path: Path, jpeg: bytes) -> Callable[..., Path]:
    """Write photos at the given paths below a new folder, and return it."""

    def make(*paths: str, root: str = "photos") -> Path:
        folder = tmp_path / root
        folder.mkdir(exist_ok=True)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(jpeg)
        return folder

    return make


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
