"""What other code has computed is not reused, and nobody has to raise a version for it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.forks import quick
from helpers.project import REPOSITORY

from florafauna.base.code import code_hash

PACKAGE = REPOSITORY / "florafauna"
CHANGED = ("preprocess/decode.py", "pixels/centre.py", "audit/_perceptual.py")

# Two runs of everything that remembers, each with the code of the package on its path.
RUN = """
import json, os, sys
from pathlib import Path
from helpers.drawn import LONG_AGO, CountingSource
from helpers.tiny import LABELS, SIDE, Place, draw_photos, params
from florafauna.audit.audit import audit
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess.preprocess import preprocess
from florafauna.training._feeds import choose_feed

root = Path(sys.argv[1])
photos = root / "photos"
if not photos.is_dir():
    photos.mkdir()
    rows = draw_photos(photos, 12, 0).assign(split=["train", "train", "val"] * 4)
    rows.to_csv(root / "manifest.csv", index=False, lineterminator="\\n")
    for path in rows["path"]:
        os.utime(photos / path, (LONG_AGO, LONG_AGO))
source = CountingSource(photos)
audit(source, sorted(path.name for path in photos.iterdir()), "here", root / "audit", workers=1)
decoded = preprocess(root / "manifest.csv", photos, root / "out", SIDE, root / "kept", workers=1)
place = Place(root / "out")
settings = params(trainable="head", views=1)
model, _ = place.built(settings)
choose_feed(place.photos(model, settings), model, "weights", root / "features")
print(json.dumps([len(source.was_read), decoded, len(list((root / "features").iterdir())),
                  PixelStore(place.train).contents]), file=sys.stderr)
"""


def remembers(folder: Path, package: Path) -> list[object]:
    """Files that an audit read, photos that were decoded, remembered features, and the contents of a store."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), str(REPOSITORY / "tests")])}
    command = [quick(), "-c", RUN, str(folder)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: list[object] = json.loads(ended.stderr.splitlines()[-1])
    return found


def test_other_code_finds_nothing_of_what_was_remembered_and_other_comments_find_all(tmp_path: Path) -> None:
    package, place = tmp_path / "code" / "florafauna", tmp_path / "place"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    place.mkdir()
    read, decoded, features, contents = remembers(place, package)
    assert (read, decoded, features) == (12, 12, 2)
    for name in CHANGED:
        file = package / name
        file.write_text("# a comment\n" + file.read_text())
    assert remembers(place, package) == [0, 0, 2, contents]
    for name in CHANGED:
        file = package / name
        file.write_text(file.read_text() + "\nANOTHER = 1\n")
    *counts, other = remembers(place, package)
    assert counts == [12, 12, 4]
    assert other != contents


def test_the_hash_of_code_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="no module"):
        code_hash("florafauna.pixels.nothing")
