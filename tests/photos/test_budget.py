"""A small file cannot ask for much memory or time; ordinary photos are not refused."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.drawn import saved
from helpers.forks import quick
from helpers.machines import needs_proc
from helpers.project import REPOSITORY
from PIL import Image

from florafauna.audit.audit import audit
from florafauna.photos.budget import count_scans, ended_when_slow, over_budget
from florafauna.photos.kinds import LARGEST_PIXELS
from florafauna.photos.sources import open_source
from florafauna.pixels.resize import resize
from florafauna.predict.decoding import Preprocessor, decode_bytes

PREPROCESSOR = Preprocessor(64, 48, 0.9, "bicubic", resize)
HERE: Any = {"cwd": REPOSITORY / "tests", "env": os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}}
SIDE = 13_376  # its square is just below Pillow's limit


def with_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved(Image.new("RGB", (width, height), "green"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - count_scans(data)) + data[-2:]


def seen_elsewhere(file: Path) -> tuple[str, int]:
    """The error of a photo, and the bytes that a process of its own takes at most to decode it.

    Whatever is large goes back to the system when it is freed (M_MMAP_THRESHOLD is -3), wherever small blocks lie.
    """
    code = (
        "import ctypes, re, sys\n"
        "from pathlib import Path\n"
        "from photos.test_budget import PREPROCESSOR, Image, saved, decode_bytes\n"
        "if hasattr(libc := ctypes.CDLL(None), 'mallopt'): libc.mallopt(-3, 1 << 16)\n"
        "def peak(): return int(re.findall(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[0])\n"
        "decode_bytes(saved(Image.new('RGB', (99, 99)), 'PNG'), PREPROCESSOR)\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "before = peak()\n"
        "error = decode_bytes(data, PREPROCESSOR).error\n"
        "print(1024 * (peak() - before), error)\n"
    )
    command = [quick(), "-c", code, str(file)]
    memory, _, error = subprocess.run(command, capture_output=True, text=True, check=True, **HERE).stdout.partition(" ")
    return error.strip(), int(memory)


@needs_proc
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_small_png_of_many_pixels_is_refused_before_it_is_decoded(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(saved(Image.new(mode, (SIDE, SIDE)), "PNG"))
    assert file.stat().st_size < 1 << 20
    error, memory = seen_elsewhere(file)
    assert error.startswith(f"too_large: {SIDE} × {SIDE} pixels would take ")
    assert memory < 100 << 20


@pytest.mark.parametrize(
    ("mode", "form"), [("RGB", "PNG"), ("RGBA", "PNG"), ("L", "TIFF"), ("I;16", "PNG"), ("RGB", "WEBP")]
)
def test_decoding_takes_no_more_bytes_a_pixel_than_are_reckoned_with(mode: str, form: str, tmp_path: Path) -> None:
    side, file = 3000, tmp_path / "photo"
    image = Image.fromarray(np.zeros((side, side), np.uint16)) if mode == "I;16" else Image.new(mode, (side, side))
    file.write_bytes(saved(image, form))
    with Image.open(file) as opened:
        assert over_budget(opened, file.read_bytes()) == ""
        opened._size = (50_000, 50_000)
        megabytes = re.findall(r"would take (\d+) MB", over_budget(opened, b""))[0]
    error, memory = seen_elsewhere(file)
    assert error == ""
    assert memory / side**2 < int(megabytes) * (1 << 20) / 50_000**2 + 2


def test_a_thousand_scans_are_refused_at_once() -> None:
    data, start = with_scans(3000, 2000, 1000), time.monotonic()
    seen = decode_bytes(data, PREPROCESSOR)
    assert (
        seen.error
        == "too_large: 1000 scans of 3000 × 2000 pixels would take too long to decode; save it as a baseline JPEG"
    )
    assert time.monotonic() - start < 5  # they take 60 seconds


def test_the_audit_refuses_what_prediction_refuses(tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(with_scans(3000, 2000, 1000))
    (tmp_path / "bomb.png").write_bytes(saved(Image.new("L", (SIDE, SIDE)), "PNG"))
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    start = time.monotonic()
    found = audit(open_source(tmp_path), ["bomb.png", "photo.jpg", "scans.jpg"], workers=1).table.set_index("path")
    assert time.monotonic() - start < 5
    assert dict(found["reason"]) == {"bomb.png": "too_large", "photo.jpg": "", "scans.jpg": "too_large"}


def test_ordinary_progressive_photos_are_seen() -> None:
    thumbnail = saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    exif = Image.Exif()
    exif[0x9286] = thumbnail  # a comment, which holds the scans of another picture
    picture = Image.new("RGB", (640, 480), "green")
    plain = saved(picture, "JPEG", progressive=True)
    data = saved(picture, "JPEG", progressive=True, exif=exif)
    assert b"\xff\xda" in thumbnail
    assert count_scans(data) == count_scans(plain) == plain.count(b"\xff\xda")
    assert decode_bytes(data, PREPROCESSOR).pixels is not None
    with Image.open(io.BytesIO(data)) as image:
        image._size = (SIDE, LARGEST_PIXELS // SIDE)
        assert over_budget(image, data) == ""


def test_what_takes_too_long_ends_its_process() -> None:
    code = (
        "import time\nfrom florafauna.photos.budget import ended_when_slow\n"
        "with ended_when_slow(60):\n    pass\n"
        "print('quick', flush=True)\n"
        "with ended_when_slow(0.2):\n    time.sleep(30)\n"
        "print('slow')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **HERE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "quick\n", "")
    with ended_when_slow(60):
        assert True
