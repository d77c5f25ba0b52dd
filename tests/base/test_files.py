"""Files that are written whole or not at all, and what killed runs leave."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from florafauna.base.files import atomic_path, sweep, write_atomic

WRITES = """
import os, signal, sys
from pathlib import Path
from florafauna.base.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()
"""


def start(path: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITES, str(path), how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def make_old(folder: Path) -> list[Path]:
    """The temporary files below a folder, as if begun an hour ago."""
    found = list(folder.rglob(".*.tmp"))
    for file in found:
        os.utime(file, (time.time() - 3600,) * 2)
    return found


@pytest.mark.skipif(os.name != "posix", reason="Windows has other locks")
def test_temporary_files_of_killed_runs_are_swept_and_those_of_others_left_alone(tmp_path: Path) -> None:
    killed = start(tmp_path / "a/killed", "dies")
    assert killed.wait() == -signal.SIGKILL
    (left,) = make_old(tmp_path)
    writing = start(tmp_path / "a/writing", "waits")
    assert writing.stdout is not None
    assert writing.stdout.readline() == "writing\n"
    assert len(make_old(tmp_path)) == 2
    sweep(tmp_path)
    assert not left.exists()
    writing.communicate("", timeout=60)
    assert writing.returncode == 0
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["writing"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has other locks")
def test_what_is_written_again_removes_what_its_killed_run_left(tmp_path: Path) -> None:
    path = tmp_path / "a[1]"
    assert start(path, "dies").wait() == -signal.SIGKILL
    make_old(tmp_path)
    write_atomic(path, "whole")
    assert [file.name for file in tmp_path.iterdir()] == ["a[1]"]


def test_a_temporary_file_that_was_just_begun_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".x.abc.tmp").touch()
    sweep(tmp_path)
    assert (tmp_path / ".x.abc.tmp").exists()
    sweep(tmp_path / "nothing")


def test_what_fails_while_it_is_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_text(str(1 / 0))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]
