"""What an earlier prediction finished is kept where it still holds, and nothing else; one prediction at a time."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.fixtures import PHOTOS
from helpers.forks import quick
from helpers.machines import needs_posix
from helpers.project import REPOSITORY
from predict.conftest import Run

from florafauna.commands.cli import main

pytestmark = needs_posix

DONE = 64  # photos of the first batch, of which the second begins before the photo at which it dies
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def given(photos: Path, tmp_path: Path) -> Path:
    """A folder of photos that may be changed."""
    return Path(shutil.copytree(photos, tmp_path / "given"))


@pytest.fixture
def part(bundle: Path, given: Path, tmp_path: Path) -> Path:
    """What a prediction into o.csv left that was killed in its second batch."""
    last = sorted(path.name for path in given.iterdir())[80]
    command = [quick(), str(Path(__file__).parent / "die.py"), last, "predict", str(given)]
    command += ["--bundle", str(bundle), "--out", str(tmp_path / "o.csv"), "--workers", "1"]
    ended = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=False)
    assert ended.returncode == -signal.SIGKILL
    return tmp_path / "o.csv.part"


def as_if_never_killed(run: Run, given: Path, part: Path) -> None:
    """The same command again gives what a new one gives."""
    assert run(given, "--out", part.with_name("whole.csv")) == 0
    assert part.with_suffix("").read_bytes() == part.with_name("whole.csv").read_bytes()


@pytest.mark.parametrize("how", ["other size", "same size"])
def test_a_photo_replaced_meanwhile_is_predicted_again(
    run: Run, given: Path, part: Path, capsys: Captured, how: str
) -> None:
    names = sorted(given.iterdir())
    other = names[-1].read_bytes()
    assert names[3].name.partition("-")[0] != names[-1].name.partition("-")[0]
    if how == "same size":
        longest = max(len(other), names[3].stat().st_size)
        names[3].write_bytes(names[3].read_bytes().ljust(longest, b" "))
        other = other.ljust(longest, b" ")
    names[3].write_bytes(other)
    assert run(given, "--out", part.with_suffix("")) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if part.name in line] == [
        f"{part} holds photos that have changed since: {PHOTOS} of {PHOTOS} photos are predicted again"
    ]
    as_if_never_killed(run, given, part)


@pytest.mark.parametrize("line", [0, 1])
def test_a_changed_digit_is_found_and_said_once(run: Run, given: Path, part: Path, capsys: Captured, line: int) -> None:
    lines = part.read_bytes().splitlines(keepends=True)
    at = lines[line].rindex(b"0.") + 3 if line else lines[line].index(b'"top": ') + 7
    flipped = bytearray(lines[line])
    flipped[at] ^= 1
    part.write_bytes(b"".join([*lines[:line], bytes(flipped), *lines[line + 1 :]]))
    assert run(given, "--out", part.with_suffix("")) == 0
    assert capsys.readouterr().err.count("is damaged: 100 of 100 photos are predicted again") == 1
    as_if_never_killed(run, given, part)


def test_a_file_that_is_no_part_is_replaced(run: Run, given: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "o.csv.part").write_bytes(b"\xff\0nothing of ours\n" * 9)
    assert run(given, "--out", tmp_path / "o.csv") == 0
    assert "is damaged" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "o.csv")) == PHOTOS


def test_a_second_prediction_into_the_same_file_is_refused(
    bundle: Path, given: Path, tmp_path: Path, capsys: Captured
) -> None:
    """The first waits, stopped, in its second batch; what it writes in the end is whole."""
    last = sorted(path.name for path in given.iterdir())[80]
    command = [sys.executable, str(Path(__file__).parent / "die.py"), last, "predict", str(given)]
    command += ["--bundle", str(bundle), "--out", str(tmp_path / "o.csv"), "--workers", "1"]
    with subprocess.Popen(command, env=ENVIRONMENT | {"BY": "SIGSTOP"}, stderr=subprocess.DEVNULL) as first:
        try:
            os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
            with pytest.raises(SystemExit) as ended:
                main(["predict", str(given), "--bundle", str(bundle), "--out", str(tmp_path / "o.csv")])
            assert ended.value.code == 1
            said = capsys.readouterr().err
            assert "o.csv.part is in use by another prediction" in said
            assert len(said.splitlines()) == 1
            assert not (tmp_path / "o.csv").exists()
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait() == 0
    assert len(pd.read_csv(tmp_path / "o.csv")) == PHOTOS
    assert not (tmp_path / "o.csv.part").exists()
