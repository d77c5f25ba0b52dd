"""Pixels of earlier runs are kept: nothing is decoded twice, and nothing else is used again."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.drawn import CountingSource
from helpers.machines import needs_posix
from helpers.stores import LABELS, bytes_of, draw_and_keep, draw_photos, manifest_of, run_preprocess

from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import decoder


def test_adding_a_photo_decodes_one_photo(tmp_path: Path) -> None:
    root = draw_and_keep(tmp_path)
    source, rows = CountingSource(root), manifest_of(root)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        assert build_store(rows, LABELS, source, tmp_path / "again/train", 48, kept) == 1
    assert source.was_read == ["rose/100.png"]
    build_store(rows, LABELS, open_source(root), tmp_path / "fresh/train", 48)
    assert bytes_of(tmp_path / "again/train") == bytes_of(tmp_path / "fresh/train")


@needs_posix
def test_preprocess_decodes_only_what_is_new(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    assert run_preprocess(tmp_path) == 20
    before = bytes_of(tmp_path / "processed")
    for file in (tmp_path / "processed").rglob("*"):  # DVC makes its files read-only and removes outs before a run
        if file.is_file():
            file.chmod(0o444)
            file.unlink()
    assert run_preprocess(tmp_path) == 0
    assert bytes_of(tmp_path / "processed") == before
    draw_photos(tmp_path / "photos", 3, first=50)
    (tmp_path / "photos/daisy/051.jpeg").write_bytes((tmp_path / "photos/daisy/001.jpeg").read_bytes())
    assert run_preprocess(tmp_path) == 2, "051 has the content of 001"
    assert run_preprocess(tmp_path, store_size=40) == 23
    assert sum(len(PixelStore(tmp_path / "processed" / split)) for split in ("train", "val", "test")) == 23


def test_a_photo_that_changed_its_split_is_not_decoded_again(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 10)
    rows, source = manifest_of(root), CountingSource(root)
    for turn, splits in enumerate((["a"] * 5 + ["b"] * 5, ["b"] * 5 + ["a"] * 5)):
        with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
            for split in ("a", "b"):
                chosen = rows[np.array(splits) == split]
                build_store(chosen, LABELS, source, tmp_path / f"{turn}/{split}", 48, kept)
                kept.keep(tmp_path / f"{turn}/{split}")
    assert len(source.was_read) == 10
    assert bytes_of(tmp_path / "0/a/pixels") == bytes_of(tmp_path / "1/b/pixels")


def test_pixels_of_another_decoder_are_not_reused(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 4)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    build_store(rows, LABELS, source, tmp_path / "train", 48)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        kept.keep(tmp_path / "train")
    with KeptPixels(tmp_path / "kept", "another", 48) as kept:
        assert build_store(rows, LABELS, source, tmp_path / "again", 48, kept) == 4
    assert not list((tmp_path / "kept").glob("*/train")), "and what is of no more use takes no room"


def test_shards_that_no_store_has_any_more_are_dropped(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    for file in (tmp_path / "photos").glob("rose/*"):
        file.unlink()
    assert run_preprocess(tmp_path) == 0
    kept = {file.name for file in tmp_path.glob("kept/*/shards/*")}
    assert kept == {file.name for file in tmp_path.glob("processed/*/pixels/*")}


def test_files_that_do_not_belong_there_are_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "photos", 8)
    run_preprocess(tmp_path)
    (folder,) = tmp_path.glob("kept/*/")
    for file in (
        tmp_path / "kept/.DS_Store",
        folder / ".DS_Store",
        folder / "shards/.DS_Store",
        folder / "._a.parquet",
    ):
        file.write_bytes(b"\0\0\0\1Bud1")
    (folder / "shards/folder").mkdir()
    assert run_preprocess(tmp_path) == 0
    assert run_preprocess(tmp_path, 40) == 8
    assert capsys.readouterr().err == ""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, to which nothing of `tmp_path` can be linked."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_where_nothing_can_be_linked_pixels_are_copied_and_that_is_said_once(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photos(tmp_path / "photos", 12)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    build_store(rows, LABELS, source, elsewhere / "train", 48)
    with KeptPixels(elsewhere / "kept", decoder(), 48) as kept:
        kept.keep(elsewhere / "train")
    assert capsys.readouterr().err == ""
    with KeptPixels(elsewhere / "kept", decoder(), 48) as kept:
        for split in ("train", "val"):
            assert build_store(rows, LABELS, source, tmp_path / split, 48, kept) == 0
            kept.keep(tmp_path / split)
    (said,) = capsys.readouterr().err.splitlines()
    assert "cannot be linked" in said
    assert "what is kept is copied" in said
    assert bytes_of(tmp_path / "train") == bytes_of(elsewhere / "train")


def test_where_pixels_cannot_be_kept_that_is_said_once(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photos(tmp_path / "photos", 4)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    (tmp_path / "file").write_bytes(b"where the folder should be")
    for folder, words in ((elsewhere / "kept", "the next run decodes its photos again"), (tmp_path / "file", "and so")):
        with KeptPixels(folder, decoder(), 48) as kept:
            for split in ("train", "val"):
                assert build_store(rows, LABELS, source, tmp_path / split, 48, kept) == 4
                kept.keep(tmp_path / split)
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("preprocess: ")
        assert words in said
