"""Label files that are cut, mixed up or written otherwise: read, or refused in one sentence."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from florafauna.base.errors import UserError
from florafauna.labels.read import read_photos

FORMATS = Path(__file__).resolve().parents[1] / "fixtures" / "formats"
MakePhotos = Callable[..., Path]

FIXTURES = sorted(path.name for path in FORMATS.iterdir() if path.name != "README.md")
PHOTOS = ("a.jpg", "d/a.jpg", "S1/1.jpg", "a/1.jpg", "a/2.jpg", "101.jpg", "102.jpg", "4001_1.jpg", "train/a.jpg",
          "train/0001.png", "test/0003.png", "cam1/1.jpg", "deployment/11/i-1.JPG", "Station2/IMG_1.JPG")  # fmt: skip


def changed(lines: list[str], draw: random.Random) -> list[str]:
    """Lines in other case or order, cut or twice; columns moved, lost or filled."""
    here = draw.randrange(len(lines))
    before, line, after = lines[:here], lines[here], lines[here + 1 :]
    rows = [line.split(",") for line in lines]
    k, value = draw.randrange(len(rows[0])), draw.choice(["", "1", "../x", "C:\\a.jpg", "NA", "5/6/20", "\0"])
    ways = [
        [*before, line.upper(), *after],
        [*before, line.lower(), *after],
        [*before, line, line, *after],
        [*before, line[: len(line) // 2], *after],
        [each.replace(",", draw.choice(";\t|")) for each in lines],
        [draw.choice(["sep=;", "# by ana", "", '"']), *lines],
        draw.sample(lines, len(lines)),
        [",".join([*row[k:], *row[:k]]) for row in rows],
        [",".join([*row[:k], *row[k + 1 :]]) for row in rows],
        [lines[0], *(",".join([*row[:k], value, *row[k + 1 :]]) for row in rows[1:])],
    ]
    return draw.choice(ways)


@pytest.mark.parametrize("name", FIXTURES)
def test_nothing_ends_with_a_traceback(make_photos: MakePhotos, tmp_path: Path, name: str) -> None:
    root = make_photos(*PHOTOS)
    for seed in range(12):
        draw = random.Random(f"{name} {seed}")
        copy = tmp_path / f"labels{seed}" / name
        copy.parent.mkdir()
        source = FORMATS / name
        _ = shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        file = draw.choice(sorted(path for path in [copy, *copy.rglob("*")] if path.is_file()))
        lines = file.read_text().splitlines()
        for _ in range(draw.randint(1, 4)):
            lines = changed(lines, draw)
        file.write_text("\n".join(lines) + "\n")
        message = ""
        try:
            photos = read_photos(root, copy)
        except UserError as error:
            message = str(error)
        if message:
            assert len(message.splitlines()) == 1
        else:
            assert all((root / path).is_file() for path in photos.table["path"])
            assert {*PHOTOS} <= {*photos.table["path"], *photos.omitted["path"]}
