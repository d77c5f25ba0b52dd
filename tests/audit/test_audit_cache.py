"""What the audit remembers: nothing known is read again, nothing changed is missed, no damage to the cache matters."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.drawn import LONG_AGO, CountingSource, saved, scene, write
from helpers.machines import needs_posix
from helpers.small_disk import small_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from florafauna.audit._cache import FILE_NAME, KEPT_DAYS, MOST_PENDING, AuditCache, File
from florafauna.audit.audit import Audit, audit
from florafauna.audit.examine import examine
from florafauna.base.files import sha256_bytes
from florafauna.photos.sources import FolderSource
from florafauna.photos.status import Status

SMALL = [saved(scene(seed, 64, 48)) for seed in range(6)]
PATHS = [f"{number}.jpg" for number in range(6)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in zip(PATHS, SMALL, strict=True):
        write(tmp_path / "photos", path, content)
    return tmp_path


def look(folder: Path, paths: list[str] | None = None, origin: str = "here") -> tuple[Audit, list[str]]:
    """An audit with the cache of `folder`, and what it read."""
    source = CountingSource(folder / "photos")
    found = audit(source, PATHS if paths is None else paths, origin, folder / "cache", workers=1)
    return found, source.was_read


def assert_same(one: Audit, other: Audit) -> None:
    pd.testing.assert_frame_equal(one.table, other.table)
    np.testing.assert_array_equal(one.hashes, other.hashes)
    np.testing.assert_array_equal(one.thumbnails, other.thumbnails)


def test_known_files_are_not_read_again(folder: Path) -> None:
    first, read_first = look(folder)
    again, read_again = look(folder)
    assert sorted(read_first) == PATHS
    assert read_again == []
    assert_same(first, again)


def test_files_that_cannot_be_used_are_known_too(folder: Path) -> None:
    paths = [write(folder / "photos", "cut.jpg", SMALL[0][:700]), write(folder / "photos", "empty.jpg", b"")]
    first, _ = look(folder, paths)
    again, was_read = look(folder, paths)
    assert was_read == []
    assert list(again.table["reason"]) == ["truncated", "empty"]
    assert_same(first, again)


def test_only_new_files_are_read(folder: Path) -> None:
    look(folder)
    new = write(folder / "photos", "a/new.jpg", saved(scene(9, 64, 48)))
    found, was_read = look(folder, [new, *PATHS])
    assert was_read == [new]
    assert_same(found, audit(FolderSource(folder / "photos"), [new, *PATHS]))


def test_without_a_cache_everything_is_read(folder: Path) -> None:
    for _ in range(2):
        source = CountingSource(folder / "photos")
        audit(source, PATHS, workers=1)
        assert sorted(source.was_read) == PATHS
    assert [path.name for path in folder.iterdir()] == ["photos"]


def test_a_changed_file_is_seen(folder: Path) -> None:
    look(folder)
    write(folder / "photos", "2.jpg", saved(scene(9, 80, 60)), changed=LONG_AGO + 5)
    found, was_read = look(folder)
    assert was_read == ["2.jpg"]
    assert found.table.loc[2, "width"] == 80


def test_a_file_changed_within_the_clock_of_the_file_system_is_seen(folder: Path) -> None:
    """Same size and time of change as when it was read: git's racy case."""
    now = time.time_ns()
    file = folder / "photos" / "2.jpg"
    one, other = SMALL[2] + b"1", SMALL[2] + b"2"
    file.write_bytes(one)
    os.utime(file, ns=(now, now))
    before, _ = look(folder)
    file.write_bytes(other)
    os.utime(file, ns=(now, now))
    after, _ = look(folder)
    assert before.table.loc[2, "sha256"] != after.table.loc[2, "sha256"]


def test_a_file_replaced_by_another_of_its_size_and_time_is_seen(folder: Path) -> None:
    before, _ = look(folder)
    file, other = folder / "photos" / "2.jpg", folder / "other.jpg"
    old = file.stat()
    other.write_bytes(SMALL[2][:-2] + b"12")
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.replace(file)
    new = file.stat()
    assert (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    after, was_read = look(folder)
    assert was_read == ["2.jpg"]
    assert before.table.loc[2, "sha256"] != after.table.loc[2, "sha256"]


def test_a_file_written_over_and_given_its_time_again_is_seen(folder: Path) -> None:
    look(folder)
    file = folder / "photos" / "2.jpg"
    old = file.stat()
    file.write_bytes(SMALL[2][:-2] + b"12")
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert look(folder)[1] == ["2.jpg"]


def test_a_moved_file_is_known_by_its_content(folder: Path) -> None:
    first, _ = look(folder)
    (folder / "photos" / "0.jpg").rename(folder / "photos" / "moved.jpg")
    moved, was_read = look(folder, ["moved.jpg", *PATHS[1:]])
    assert was_read == ["moved.jpg"]
    pd.testing.assert_frame_equal(first.table.drop(columns="path"), moved.table.drop(columns="path"))


def test_known_content_is_not_decoded_again(folder: Path) -> None:
    """A cache that claims something else of the content is believed."""
    write(folder / "photos", "a/copy.jpg", SMALL[0])
    sha256 = look(folder)[0].table.loc[0, "sha256"]
    with sqlite3.connect(folder / "cache" / FILE_NAME) as connection:
        ((version,),) = connection.execute("SELECT text FROM version").fetchall()
    with AuditCache(folder / "cache", version) as cache:
        claimed = examine(SMALL[0])._replace(width=4711)
        cache.remember(
            "elsewhere", [File("x.jpg", sha256, Status(len(SMALL[0]), LONG_AGO, 0, 0), time.time_ns(), claimed)]
        )
    assert look(folder, ["a/copy.jpg"])[0].table.loc[0, "width"] == 4711


def test_two_folders_with_the_same_names_are_not_confused(folder: Path, tmp_path: Path) -> None:
    look(folder)
    shutil.copytree(folder / "photos", tmp_path / "other" / "photos")
    write(tmp_path / "other" / "photos", "2.jpg", SMALL[2][:-1] + b"\xd8")  # of the same size and time
    source = CountingSource(tmp_path / "other" / "photos")
    other = audit(source, PATHS, "there", folder / "cache", workers=1)
    assert other.table.loc[2, "sha256"] != look(folder)[0].table.loc[2, "sha256"]


def test_a_folder_whose_name_is_not_utf_8(folder: Path) -> None:
    look(folder, origin=os.fsdecode(b"/photos/\xe9t\xe9"))
    _, was_read = look(folder, origin=os.fsdecode(b"/photos/\xe9t\xe9"))
    assert was_read == []


def test_several_workers_share_what_is_known(folder: Path) -> None:
    contents = [SMALL[0] + number.to_bytes(2, "big") for number in range(70)]
    paths = [write(folder / "photos", f"many/{number}.jpg", content) for number, content in enumerate(contents)]
    first = audit(FolderSource(folder / "photos"), paths, "here", folder / "cache", workers=2)
    assert (first.table["reason"] == "").all()
    again, was_read = look(folder, paths)
    assert was_read == []
    assert_same(first, again)


# ---- a cache that is damaged, or cannot be written


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=200),
    st.floats(0, 1),
    st.integers(1, 3000),
)
def test_no_damage_to_the_cache_matters(folder: Path, changes: list[tuple[float, int]], kept: float, hole: int) -> None:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    expected, _ = look(folder)
    content = bytearray((folder / "cache" / FILE_NAME).read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    start = int(kept * len(content))
    content[start : start + hole] = os.urandom(len(content[start : start + hole]))
    (folder / "cache" / FILE_NAME).write_bytes(content)
    assert_same(expected, look(folder)[0])
    assert_same(expected, look(folder)[0])


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_cache_is_replaced(folder: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cache").mkdir()
    (folder / "cache" / FILE_NAME).write_bytes(content)
    first, _ = look(folder)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (1 if content else 0)  # an empty file is a new database
    assert all("is damaged" in line and FILE_NAME in line for line in said)
    again, was_read = look(folder)
    assert was_read == []
    assert_same(first, again)
    assert capsys.readouterr().err == ""


def test_a_cache_cut_in_half_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = look(folder)
    assert capsys.readouterr().err == ""
    file = folder / "cache" / FILE_NAME
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_same(first, look(folder)[0])
    assert len(capsys.readouterr().err.splitlines()) == 1
    look(folder)
    assert look(folder)[1] == []


def test_where_no_cache_can_be_made_nothing_is_remembered_and_that_is_said_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cache").write_bytes(b"a file where the folder should be")
    found, was_read = look(folder)
    assert sorted(was_read) == PATHS
    assert (found.table["reason"] == "").all()
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"audit: {folder / 'cache' / FILE_NAME} cannot be used (")
    assert "nothing new is remembered" in said


def test_a_cache_that_another_process_has_locked_is_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = File("a.jpg", "ab" * 32, Status(len(SMALL[0]), LONG_AGO, 0, 0), time.time_ns(), examine(SMALL[0]))
    with AuditCache(tmp_path, "1") as cache:
        cache.remember("here", [file])
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("BEGIN IMMEDIATE")
    with AuditCache(tmp_path, "1", locked_seconds=0.01) as cache:
        cache.remember("here", [file._replace(path="b.jpg")])
        cache.remember("here", [file._replace(path="c.jpg")])
    other.close()
    (said,) = capsys.readouterr().err.splitlines()
    assert "cannot be used (database is locked)" in said
    with AuditCache(tmp_path, "1") as cache:
        assert list(cache.recall("here", dict.fromkeys(("a.jpg", "b.jpg"), file.status))) == ["a.jpg"]


FULL = """
import resource, sys, time
from pathlib import Path
from florafauna.audit._cache import AuditCache, File
from florafauna.audit.examine import Content
from florafauna.photos.status import Status
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))  # as a disk that has no more room
with AuditCache(Path(sys.argv[1]), "1") as cache:
    for number in range(3):
        digests = [f"{number:02x}" * 8 + f"{each:048x}" for each in range(500)]
        status, now = Status(1, 0, 0, 0), time.time_ns()
        cache.remember("here", [File(digest, digest, status, now, Content()) for digest in digests])
        cache.prune("here", [])
print("went on")
"""


@needs_posix
def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "went on\n"
    (said,) = ended.stderr.splitlines()
    assert "cannot be used (" in said


def test_workers_read_while_much_is_written(tmp_path: Path) -> None:
    content = [examine(data) for data in SMALL]
    digests = [sha256_bytes(str(number).encode()) for number in range(4 * MOST_PENDING)]
    files = [
        File(f"{n}.jpg", sha256, Status(1, LONG_AGO, 0, 0), LONG_AGO, content[n % 6])
        for n, sha256 in enumerate(digests)
    ]
    with AuditCache(tmp_path, "1") as writer:
        writer.remember("here", files[:-MOST_PENDING])
        writer.remember("here", files[-MOST_PENDING:])  # more than SQLite holds by itself, and not yet committed
        with AuditCache(tmp_path, "1") as reader:
            assert reader.content(files[0].sha256) == content[0]
            assert reader.content(files[-1].sha256) is None
    with AuditCache(tmp_path, "1") as reader:
        assert reader.content(files[-1].sha256) == content[(len(files) - 1) % 6]


def test_facts_of_another_version_are_forgotten(tmp_path: Path) -> None:
    file = File("a.jpg", "ab" * 32, Status(len(SMALL[0]), LONG_AGO, 0, 0), time.time_ns(), examine(SMALL[0]))
    with AuditCache(tmp_path, "1") as cache:
        cache.remember("here", [file])
    with AuditCache(tmp_path, "1") as cache:
        assert cache.content(file.sha256) == file.content
    with AuditCache(tmp_path, "2") as cache:
        assert cache.content(file.sha256) is None
        assert cache.recall("here", {"a.jpg": file.status}) == {}


def test_content_not_met_for_long_is_forgotten(tmp_path: Path) -> None:
    met = File("a.jpg", "ab" * 32, Status(len(SMALL[0]), LONG_AGO, 0, 0), time.time_ns(), examine(SMALL[0]))
    gone = File("b.jpg", "cd" * 32, Status(len(SMALL[1]), LONG_AGO, 0, 0), time.time_ns(), examine(SMALL[1]))
    with AuditCache(tmp_path, "1", today=1000) as cache:
        cache.remember("here", [met, gone])
    with AuditCache(tmp_path, "1", today=1000 + KEPT_DAYS) as cache:
        cache.prune("here", ["a.jpg"])
        assert cache.content(gone.sha256) == gone.content  # a branch switch brings it back
        assert cache.recall("here", {"b.jpg": gone.status}) == {}
    with AuditCache(tmp_path, "1", today=1001 + KEPT_DAYS) as cache:
        cache.prune("here", ["a.jpg"])
        assert cache.content(gone.sha256) is None
        assert cache.recall("here", {"a.jpg": met.status})


def test_a_file_that_comes_back_the_same_day_is_still_known(tmp_path: Path) -> None:
    """A branch switch and back: the cache is tidied once a day."""
    file = File("a.jpg", "ab" * 32, Status(len(SMALL[0]), LONG_AGO, 0, 0), time.time_ns(), examine(SMALL[0]))
    with AuditCache(tmp_path, "1", today=1000) as cache:
        cache.remember("here", [file])
        cache.prune("here", ["a.jpg"])
        cache.prune("here", [])
        assert cache.recall("here", {"a.jpg": file.status})
    with AuditCache(tmp_path, "1", today=1001) as cache:
        cache.prune("here", [])
        assert not cache.recall("here", {"a.jpg": file.status})


NO_ROOM = """
import sys
from pathlib import Path
from florafauna.audit.audit import audit
from florafauna.photos.sources import FolderSource
found = audit(FolderSource(Path(".")), [f"{number}.jpg" for number in range(4000)], cache=Path(sys.argv[1]), workers=1)
print(len(found.thumbnails), found.thumbnails.any())
"""


def test_facts_that_do_not_fit_the_disk_are_held_in_memory(tmp_path: Path) -> None:
    """A mapped file without room would end the process with SIGBUS."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        (disk / "ballast").write_bytes(bytes(1 << 19))
        command = [sys.executable, "-c", NO_ROOM, str(disk)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "4000 False\n"
