"""Commands that are killed while worker processes decode leave none behind; Ctrl-C and SIGTERM end in one line."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.drawn import saved, scene
from helpers.machines import needs_proc
from helpers.project import REPOSITORY

from florafauna.base.errors import one_sentence_on_error

MARK = "FLORAFAUNA_TEST"
PATIENCE = 60.0  # seconds, for a busy machine


@dataclass(frozen=True)
class Running:
    """A command and all processes that it started, which inherit a mark in their environment."""

    process: subprocess.Popen[str]
    mark: str

    def alive(self) -> list[int]:
        """Numbers of the processes that are there, zombies not counted."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                if marked and "\nState:\tZ" not in (folder / "status").read_text():
                    found.append(int(folder.name))
            except OSError:  # gone meanwhile, or not ours
                continue
        return found

    def at_work(self) -> bool:
        """Whether two processes besides the first have computed for as long as a photo takes."""
        busy = 0
        for number in self.alive():
            try:
                user_time = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[11])
            except OSError:
                continue
            busy += number != self.process.pid and user_time > os.sysconf("SC_CLK_TCK") / 4
        return busy >= 2


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 photos, which are links to a large one: minutes of decoding."""
    folder = tmp_path_factory.mktemp("heavy")
    (folder / "large").write_bytes(saved(scene(0, 4000, 3000), quality=95))
    for label in ("fern", "moss"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(300):
            (folder / "photos" / label / f"{number}.jpg").symlink_to(folder / "large")
    return folder / "photos"


@pytest.fixture(params=["predict", "check"])
def running(request: pytest.FixtureRequest, heavy: Path, bundle: Path, tmp_path: Path) -> Iterator[Running]:
    """A command in the midst of decoding."""
    mark = uuid.uuid4().hex
    arguments = {
        "predict": ["predict", str(heavy), "--bundle", str(bundle), "--out", "o.csv", "--workers", "2"],
        "check": ["check", str(heavy)],
    }
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", MARK: mark}
    command = [sys.executable, "-m", "florafauna.commands.cli", *arguments[request.param]]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        found = Running(process, mark)
        try:
            until(lambda: found.at_work() or process.poll() is not None, "no worker started")
            assert process.poll() is None
            yield found
        finally:
            for number in found.alive():
                os.kill(number, signal.SIGKILL)


@needs_proc
def test_none_outlives_a_killed_parent(running: Running) -> None:
    os.kill(running.process.pid, signal.SIGKILL)
    until(lambda: not running.alive(), f"still there: {running.alive()}")


@needs_proc
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_is_one_line_and_a_code(running: Running, by: signal.Signals) -> None:
    """SIGTERM reaches one process, Ctrl-C in a terminal all of them."""
    if by == signal.SIGINT:
        os.killpg(running.process.pid, by)
    else:
        os.kill(running.process.pid, by)
    assert running.process.wait(PATIENCE) == 130
    assert running.process.stderr is not None
    lines = [line for line in running.process.stderr if not line.startswith(("audit: ", "predict: ", "newts: "))]
    assert "".join(lines) == "florafauna: interrupted.\n"
    until(lambda: not running.alive(), f"still there: {running.alive()}")


def test_a_refused_access_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for error, words in (
        (PermissionError(13, "Permission denied", "models/a"), "florafauna: models/a: permission denied; "),
        (OSError(28, "No space left on device"), "florafauna: the disk is full; make room"),
    ):
        with pytest.raises(SystemExit) as ended, one_sentence_on_error():
            raise error
        assert ended.value.code == 1
        said = capsys.readouterr().err
        assert said.startswith(words)
        assert len(said.splitlines()) == 1
    with pytest.raises(FileNotFoundError), one_sentence_on_error():  # a fault of the program
        Path(tmp_path / "absent").read_bytes()
