"""What a disk has changed or lost, of stores, kept pixels and manifest, is made good or named."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.stores import LABELS, bytes_of, damage, draw_and_keep, draw_photos, manifest_of, run_preprocess

from florafauna.base.errors import UserError
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import decoder
from florafauna.preprocess.preprocess import preprocess


@pytest.mark.parametrize("damage", ["cut", "zeros", "split", "label", "number", "absent", "empty"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: str) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    manifest = tmp_path / "manifest.csv"
    text = manifest.read_text(encoding="utf-8")
    cut = len(text) - 40
    first = text.splitlines()[1]
    damaged = {
        "cut": text[:cut],
        "zeros": text[:cut] + "\0" * 40,
        "split": text.replace(",train,", ",tsain,", 1),
        "label": text.replace(first, first.replace(",rose,", ",rnse,").replace(",daisy,", ",dainy,")),
        "number": text.replace(",0,", ",p,", 1),
        "empty": "",
    }
    if damage == "absent":
        manifest.unlink()
    else:
        manifest.write_text(damaged[damage], encoding="utf-8")
    args = (manifest, tmp_path / "photos", tmp_path / "again", 48, tmp_path / "kept")
    with pytest.raises(UserError, match=r"manifest\.csv (is missing|is not as the split stage wrote it)"):
        preprocess(*args, workers=1)


def test_damage_to_what_is_kept_is_made_good(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    before = bytes_of(tmp_path / "processed")
    shutil.rmtree(tmp_path / "processed")
    kept = sorted(tmp_path.glob("kept/*/shards/*"))
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    kept[1].unlink()
    assert 0 < run_preprocess(tmp_path) < 20
    assert bytes_of(tmp_path / "processed") == before
    next(tmp_path.glob("kept/*/train.parquet")).write_bytes(b"PAR1")
    shutil.rmtree(tmp_path / "processed")
    run_preprocess(tmp_path)
    assert bytes_of(tmp_path / "processed") == before


@pytest.mark.parametrize("how", ["zeroed", "a bit flipped"])
def test_kept_pixels_that_were_changed_are_said_once_and_decoded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    draw_photos(tmp_path / "photos", 40)
    run_preprocess(tmp_path)
    before = bytes_of(tmp_path / "processed")
    shutil.rmtree(tmp_path / "processed")
    shards = sorted(tmp_path.glob("kept/*/shards/*"))
    for shard in shards[:2]:
        damage(shard, how)
    capsys.readouterr()
    assert 0 < run_preprocess(tmp_path) < 40
    (said,) = capsys.readouterr().err.splitlines()
    assert "was damaged on disk" in said
    assert bytes_of(tmp_path / "processed") == before
    damage(next(tmp_path.glob("kept/*/train.parquet")), "zeroed")
    shutil.rmtree(tmp_path / "processed")
    run_preprocess(tmp_path)
    assert "was damaged on disk" in capsys.readouterr().err
    assert bytes_of(tmp_path / "processed") == before
    assert run_preprocess(tmp_path) == 0
    assert capsys.readouterr().err == ""


def test_a_copied_photo_of_a_changed_kept_file_is_decoded_again(tmp_path: Path) -> None:
    """A new photo changes the shard that it falls into, whose other photos are copied."""
    root = draw_and_keep(tmp_path)
    rows = manifest_of(root)
    for shard in tmp_path.glob("kept/*/shards/*"):
        damage(shard, "a bit flipped")
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        assert build_store(rows, LABELS, open_source(root), tmp_path / "again/train", 48, kept) == 13
    build_store(rows, LABELS, open_source(root), tmp_path / "fresh/train", 48)
    assert bytes_of(tmp_path / "again/train") == bytes_of(tmp_path / "fresh/train")


def test_stores_are_held_against_their_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_photos(tmp_path / "photos", 8)
    build_store(manifest_of(tmp_path / "photos"), LABELS, open_source(tmp_path / "photos"), Path("store"), 48)
    PixelStore(Path("store")).verify()
    index, shard = Path("store/index.parquet"), sorted(Path("store/pixels").iterdir())[0]
    whole = index.read_bytes()
    index.write_bytes(whole.replace(b"daisy", b"doisy"))
    with pytest.raises(UserError, match=r"index\.parquet cannot be read .*dvc checkout store"):
        PixelStore(Path("store")).verify()
    index.write_bytes(whole)
    damage(shard, "zeroed")
    with pytest.raises(UserError, match=rf"{shard.name} was damaged on disk .*delete it and run `dvc checkout store`"):
        PixelStore(Path("store")).verify()


def test_a_damaged_object_of_dvcs_cache_is_named_and_deleting_it_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc checkout` cannot: DVC takes an object to be what its name says."""
    monkeypatch.chdir(tmp_path)

    def dvc(*command: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *command, "-q"], check=True)

    draw_photos(tmp_path / "photos", 8)
    build_store(manifest_of(tmp_path / "photos"), LABELS, open_source(tmp_path / "photos"), Path("store"), 48)
    dvc("init", "--no-scm")
    dvc("add", "store")
    shard = sorted(Path("store/pixels").iterdir())[0]
    md5 = hashlib.md5(shard.read_bytes()).hexdigest()
    copy = Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    whole = copy.read_bytes()
    damage(copy, "zeroed")
    copy.chmod(0o444)
    shutil.rmtree("store")
    dvc("checkout")
    with pytest.raises(UserError, match=f"so was {copy}, DVC's own copy: delete both and run `dvc pull`"):
        PixelStore(Path("store")).verify()
    copy.unlink()
    shard.unlink()
    copy.write_bytes(whole)  # as `dvc pull` fetches it
    dvc("checkout")
    PixelStore(Path("store")).verify()
