"""The pixel store: all photos in order, the same bytes every time, whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.machines import needs_posix
from helpers.stores import LABELS, KillingSource, bytes_of, draw_photos, manifest_of, photograph
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.photos.sources import open_source
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import decode


def test_the_store_holds_every_photo_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 9)
    rows = manifest_of(tmp_path / "photos")
    assert build_store(rows, LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 48) == 9
    store = PixelStore(tmp_path / "store")
    assert len(store) == 9
    assert list(store.names) == sorted(rows["path"])
    assert [store.row_of(path) for path in store.names] == list(range(len(store)))
    assert [store.row_of(path) for path in ("", "zzz", f"{store.names[0]}x")] == [None] * 3
    assert store.labels == LABELS
    assert store.store_size == 48
    assert list(store.targets) == list(rows["target"])
    assert {
        "path",
        "label",
        "target",
        "held_out",
        "group",
        "cluster",
        "sha256",
        "height",
        "width",
        "shard",
        "offset",
        "checksum",
    } == set(store.table().columns)
    for row, path in enumerate(rows["path"]):
        assert np.array_equal(store.photo(row), decode((tmp_path / "photos" / path).read_bytes(), 48, resize))
    with pytest.raises(ValueError, match="read-only"):
        store.photo(0)[0, 0, 0] = 1


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 80)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    for workers in (1, 2):
        build_store(rows, LABELS, source, tmp_path / f"store{workers}", 32, workers=workers)
    assert bytes_of(tmp_path / "store1") == bytes_of(tmp_path / "store2")


def test_a_split_without_photos_has_a_store(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 2)
    rows = manifest_of(tmp_path / "photos")
    build_store(rows[:0], LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 32)
    store = PixelStore(tmp_path / "store")
    assert (len(store), list(store.names), store.labels) == (0, [], LABELS)


def test_a_new_photo_changes_the_file_it_falls_into_and_no_other(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 80)
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "before", 16)
    draw_photos(root, 1, first=101)  # daisy/101.jpeg, between daisies and roses
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "after", 16)
    before, after = bytes_of(tmp_path / "before/pixels"), bytes_of(tmp_path / "after/pixels")
    assert len(before) > 4
    assert len(before.keys() - after.keys()) <= 1
    assert len(after.keys() - before.keys()) in (1, 2)
    assert all(after[name] == before[name] for name in after.keys() & before.keys())


def test_equal_photos_in_a_row_are_stored(tmp_path: Path) -> None:
    """The same shard is then needed several times, or a shard holds the same photo several times."""
    for number in range(16):
        draw_photos(tmp_path / f"{number}/photos", 1, first=number)
        root = tmp_path / f"{number}/photos/{'daisy' if number % 2 else 'rose'}"
        data = next(root.iterdir()).read_bytes()
        for copy in range(3):
            (root / f"copy{copy}.png").write_bytes(data)
        rows = manifest_of(tmp_path / f"{number}/photos")
        assert build_store(rows, LABELS, open_source(tmp_path / f"{number}/photos"), tmp_path / f"{number}/store", 16)
        store = PixelStore(tmp_path / f"{number}/store")
        assert all(np.array_equal(store.photo(row), decode(data, 16, resize)) for row in range(4))


KILLED = """
import sys
from pathlib import Path
import pandas as pd
from helpers.stores import LABELS, KillingSource, manifest_of
from florafauna.preprocess._write import build_store
root, out = map(Path, sys.argv[1:])
rows = manifest_of(root)
build_store(rows, LABELS, KillingSource(root, rows["path"].iloc[-1]), out, 48, workers=1)
"""


@needs_posix
def test_a_killed_build_leaves_no_store(tmp_path: Path, repository: Path) -> None:
    root, out = tmp_path / "photos", tmp_path / "store"
    draw_photos(root, 40)
    rows = manifest_of(root)
    build_store(rows, LABELS, open_source(root), tmp_path / "whole", 48)
    build_store(rows, LABELS, open_source(root), out, 48)
    folders = (repository, repository / "tests")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    killed = subprocess.run([sys.executable, "-c", KILLED, root, out], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="no stored photos"):
        PixelStore(out)
    assert build_store(rows, LABELS, open_source(root), out, 48) == 40
    assert all(bytes_of(out)[name] == data for name, data in bytes_of(tmp_path / "whole").items())


@needs_posix
def test_a_killed_worker_is_said_in_a_sentence(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 3)
    rows = manifest_of(tmp_path / "photos")
    source = KillingSource(tmp_path / "photos", rows["path"].iloc[1])
    with pytest.raises(UserError, match="killed"):
        build_store(rows, LABELS, source, tmp_path / "store", 48, workers=2)
    assert not bytes_of(tmp_path / "store")


@pytest.mark.parametrize("change", ["truncated", "missing", "other size"])
def test_a_photo_that_changed_since_the_split_is_named(tmp_path: Path, change: str) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 4)
    rows = manifest_of(root)
    file = root / "daisy/003.jpeg"
    if change == "truncated":
        file.write_bytes(file.read_bytes()[:300])
    elif change == "missing":
        file.unlink()
    else:
        Image.new("RGB", (200, 50)).save(file)
    with pytest.raises(UserError, match=r"daisy/003\.jpeg .*dvc repro"):
        build_store(rows, LABELS, open_source(root), tmp_path / "store", 48)
    assert not bytes_of(tmp_path / "store")


def test_a_photo_replaced_by_another_of_the_same_size_is_named(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 8)
    rows = manifest_of(root)
    whole = (root / "daisy/003.jpeg").read_bytes()
    with Image.open(root / "daisy/003.jpeg") as image:
        photograph(*image.size, seed=99).save(root / "daisy/003.jpeg")
    with pytest.raises(UserError, match=r"daisy/003\.jpeg is not what it was .*its content is another.*dvc repro"):
        build_store(rows, LABELS, open_source(root), tmp_path / "store", 48)
    assert not bytes_of(tmp_path / "store")
    (root / "daisy/003.jpeg").write_bytes(whole)
    assert build_store(rows, LABELS, open_source(root), tmp_path / "store", 48) == 8


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stored photos"):
        PixelStore(tmp_path)
    draw_photos(tmp_path / "photos", 4)
    rows = manifest_of(tmp_path / "photos")
    build_store(rows, LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 48)
    shard = next((tmp_path / "store/pixels").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="dvc checkout"):
        PixelStore(tmp_path / "store")
    shard.unlink()
    with pytest.raises(UserError, match="holds 0 bytes"):
        PixelStore(tmp_path / "store")
    shard.write_bytes(whole)
    PixelStore(tmp_path / "store")
    (tmp_path / "store/index.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="dvc checkout"):
        PixelStore(tmp_path / "store")
