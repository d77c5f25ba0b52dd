"""Folders and archives: what is listed, what can be read, what is refused."""

import io
import os
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.machines import needs_posix

from florafauna.base.errors import UserError
from florafauna.labels.read import open_source, read_photos
from florafauna.photos.sources import LISTED_AT_ONCE
from florafauna.photos.status import status_of

MakePhotos = Callable[..., Path]


def pack(folder: Path, archive: Path) -> Path:
    """A zip or tar archive of what lies in a folder, made by the standard library."""
    archive.parent.mkdir(exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(folder.rglob("*")):
                packed.write(path, path.relative_to(folder))
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[archive.suffix]
        with tarfile.open(archive, mode) as packed:  # type: ignore[call-overload]
            packed.add(folder, ".")
    return archive


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_an_archive_reads_like_the_folder_it_was_made_of(
    make_photos: MakePhotos, tmp_path: Path, jpeg: bytes, name: str
) -> None:
    folder = make_photos("deer/b.jpg", "deer/a.jpg", "fox/ü.jpg")
    archive = pack(folder, tmp_path / name)
    source = open_source(archive)
    assert source.files() == open_source(folder).files() == ["deer/a.jpg", "deer/b.jpg", "fox/ü.jpg"]
    assert source.read("deer/b.jpg") == jpeg
    assert source.stat("deer/b.jpg") == status_of(archive.stat(), len(jpeg))
    assert read_photos(archive, archive).table.equals(read_photos(folder, folder).table)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_source_works_in_another_process(make_photos: MakePhotos, tmp_path: Path, jpeg: bytes, name: str) -> None:
    source = open_source(pack(make_photos("deer/a.jpg"), tmp_path / name))
    source.files()  # an opened archive must not hinder
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(source))
    script = "import pickle, sys; sys.stdout.buffer.write(pickle.load(open(sys.argv[1], 'rb')).read('deer/a.jpg'))"
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "source.pickle")], cwd=repository, capture_output=True, check=True
    )
    assert done.stdout == jpeg


def test_a_compressed_tar_leaves_no_temporary_file(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    source = open_source(pack(make_photos("deer/a.jpg"), tmp_path / "a.tgz"))
    source.read("deer/a.jpg")
    assert len(list(scratch.iterdir())) == 1
    del source
    assert not list(scratch.iterdir())


def test_archives_in_a_folder_are_read_where_they_lie(make_photos: MakePhotos, tmp_path: Path, jpeg: bytes) -> None:
    root = make_photos("deer/a.jpg")
    pack(make_photos("deer/z.jpg", "fox/b.jpg", root="more"), root / "more.zip")
    pack(make_photos("c.jpg", root="hares"), root / "hare.tar.gz")
    source = open_source(root)
    assert source.files() == ["deer/a.jpg", "hare.tar.gz/c.jpg", "more.zip/deer/z.jpg", "more.zip/fox/b.jpg"]
    assert pickle.loads(pickle.dumps(source)).read("more.zip/fox/b.jpg") == jpeg
    # an archive is no label, unless photos lie in it without a folder
    assert list(read_photos(root, root).table["label"]) == ["deer", "hare", "deer", "fox"]


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_threads_may_read_from_archives_at_once(tmp_path: Path, suffix: str) -> None:
    """More archives than stay listed, each with members whose content is their path, many times over."""
    for number in range(2 * LISTED_AT_ONCE):
        for member in range(20):
            file = tmp_path / f"{number}/deer/{member}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{number}.{suffix}/deer/{member}.jpg ".encode() * 5000)
        pack(tmp_path / str(number), tmp_path / f"root/{number}.{suffix}")
    source = open_source(tmp_path / "root")
    paths = source.files() * 3
    random.Random(0).shuffle(paths)
    with ThreadPoolExecutor(4) as threads:
        assert all(map(str.startswith, map(bytes.decode, threads.map(source.read, paths)), paths))


def test_of_many_archives_few_members_are_held(make_photos: MakePhotos, tmp_path: Path, jpeg: bytes) -> None:
    """As many processes as there are cores read from them, and each would hold all."""
    folder = make_photos(*(f"deer/{number:04d}.jpg" for number in range(300)))
    for number in range(LISTED_AT_ONCE):
        pack(folder, tmp_path / f"root/{number:02d}.tar")
    source = open_source(tmp_path / "root")
    tracemalloc.start()
    try:
        for path in source.files():
            assert source.read(path) == jpeg
        few, _ = tracemalloc.get_traced_memory()
        for number in range(LISTED_AT_ONCE, 3 * LISTED_AT_ONCE):
            shutil.copy(tmp_path / "root/00.tar", tmp_path / f"root/{number:02d}.tar")
            assert source.read(f"{number:02d}.tar/deer/0299.jpg") == jpeg
        many, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many < 1.2 * few
    assert source.read("00.tar/deer/0000.jpg") == jpeg


def test_members_that_leave_a_zip_are_refused(tmp_path: Path, jpeg: bytes) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("deer/a.jpg", "../evil.jpg", "/etc/evil.jpg", "deer/../../evil.jpg", "C:/evil.jpg", "fox\\b.jpg"):
            packed.writestr(name, jpeg)
        link = zipfile.ZipInfo("deer/link.jpg")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    source = open_source(archive)
    assert source.files() == ["deer/a.jpg", "fox/b.jpg"]
    assert {refused.path: refused.reason for refused in source.refused()} == {
        "../evil.jpg": "outside_root",
        "/etc/evil.jpg": "outside_root",
        "deer/../../evil.jpg": "outside_root",
        "C:/evil.jpg": "outside_root",
        "deer/link.jpg": "not_a_file",
    }
    assert set(read_photos(archive, archive).omitted["reason"]) == {"outside_root", "not_a_file"}
    for path in ("../evil.jpg", "deer/link.jpg"):
        with pytest.raises(OSError, match=r"\.jpg|deer"):
            source.read(path)


def test_links_and_devices_in_a_tar(tmp_path: Path, jpeg: bytes) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as packed:

        def add(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = len(jpeg) if kind == tarfile.REGTYPE else 0
            packed.addfile(member, io.BytesIO(jpeg))

        add("deer/a.jpg")
        add("deer/same.jpg", tarfile.LNKTYPE, "deer/a.jpg")
        add("fox/seen.jpg", tarfile.SYMTYPE, "../deer/a.jpg")
        add("fox/out.jpg", tarfile.SYMTYPE, "../../secret.jpg")
        add("fox/absolute.jpg", tarfile.SYMTYPE, "/etc/passwd")
        add("fox/loop.jpg", tarfile.SYMTYPE, "loop.jpg")
        add("../evil.jpg")
        add("fox/pipe.jpg", tarfile.FIFOTYPE)
    source = open_source(archive)
    assert source.files() == ["deer/a.jpg", "deer/same.jpg", "fox/seen.jpg"]
    assert source.read("fox/seen.jpg") == source.read("deer/same.jpg") == jpeg
    assert [refused.path for refused in source.refused()] == [
        "../evil.jpg", "fox/absolute.jpg", "fox/loop.jpg", "fox/out.jpg", "fox/pipe.jpg",
    ]  # fmt: skip


@needs_posix
def test_a_linked_file_is_read_and_a_linked_folder_is_not_followed(
    make_photos: MakePhotos, tmp_path: Path, jpeg: bytes
) -> None:
    root = make_photos("deer/a.jpg")
    cache = make_photos("0f/1a2b", root="cache")  # `dvc checkout` with cache.type symlink
    (root / "deer" / "b.jpg").symlink_to(cache / "0f" / "1a2b")
    (root / "loop").symlink_to(root)
    (root / "deer" / "self.jpg").symlink_to("self.jpg")
    (root / "deer" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(root / "deer" / "pipe.jpg")
    photos = read_photos(root, root)
    assert list(photos.table["path"]) == ["deer/a.jpg", "deer/b.jpg"]
    assert open_source(root).read("deer/b.jpg") == jpeg
    assert dict(zip(photos.omitted["path"], photos.omitted["reason"], strict=True)) == {
        "loop": "linked_folder",
        "deer/self.jpg": "symlink_loop",
        "deer/gone.jpg": "missing_file",
        "deer/pipe.jpg": "not_a_file",
    }


@needs_posix
def test_reading_beyond_the_root_or_from_a_pipe_is_an_os_error(make_photos: MakePhotos, tmp_path: Path) -> None:
    root = make_photos("deer/a.jpg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    os.mkfifo(root / "pipe.jpg")
    source = open_source(root)
    outside = ("../secret.jpg", str(tmp_path / "secret.jpg"), "deer/../../secret.jpg")
    for path in (*outside, "deer", "none.jpg", "pipe.jpg"):
        with pytest.raises(OSError, match=r"\.jpg|deer"):
            source.read(path)


@needs_posix
def test_names_that_no_csv_survives_are_omitted_in_a_readable_form(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.jpg", "deer/new\nline.jpg")
    with (root / "deer").joinpath(os.fsdecode(b"caf\xe9.jpg")).open("wb") as file:
        file.write(b"x")
    photos = read_photos(root, root)
    assert list(photos.table["path"]) == ["deer/a.jpg"]
    assert list(photos.omitted["path"]) == ["deer/caf\\xe9.jpg", "deer/new\\x0aline.jpg"]
    assert set(photos.omitted["reason"]) == {"bad_name"}
    photos.omitted.to_csv(root / "omitted.csv", index=False)


def test_hidden_files_are_passed_over(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.jpg", "deer/._a.jpg", ".thumbs/x.jpg", "__MACOSX/deer/a.jpg")
    assert open_source(root).files() == ["deer/a.jpg"]


def test_damaged_archives_end_with_a_sentence(make_photos: MakePhotos, tmp_path: Path) -> None:
    archive = pack(make_photos("deer/a.jpg", "deer/b.jpg"), tmp_path / "a.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be unpacked"):
        open_source(archive).files()
    with pytest.raises(UserError, match="does not exist"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UserError, match="neither a folder nor a zip or tar archive"):
        open_source(tmp_path / "text")


def test_a_damaged_member_is_an_os_error(make_photos: MakePhotos, tmp_path: Path, jpeg: bytes) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("deer/a.jpg", jpeg)
    data = bytearray(archive.read_bytes())
    data[data.index(jpeg) + 20] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        open_source(archive).read("deer/a.jpg")


def test_a_bomb_of_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "bomb.tar"
    with tarfile.open(plain, "w") as packed:
        member = tarfile.TarInfo("zeros.jpg")
        member.size = 20_000_000
        packed.addfile(member, io.BytesIO(bytes(member.size)))
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as packed:
        packed.add(plain, "inner.jpg")
    with pytest.raises(UserError, match="times its size"):
        open_source(tmp_path / "bomb.tar.gz")
