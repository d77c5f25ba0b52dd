"""Who sends slowly, or too much, keeps nobody else waiting: a real server and sockets on this machine."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.forks import quick
from helpers.project import REPOSITORY

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

MANY = 12  # connections; more than photos are looked at at once
SOON = 20.0  # seconds, far below the time that a slow photo is given
SHORT = 3.0  # seconds that a photo is given where the limit itself is tested


def served(
    bundle: Path, root: Path, seconds: float = 60, held: int | None = None, ended: bool = False
) -> Iterator[int]:
    """The port of a `florafauna serve` that runs in `root` and gives each photo so many seconds to arrive.

    `held` is how many bytes of unfinished photos it holds, if not as many as usual. If `ended`, it is told to end.
    """
    code = "import sys, florafauna.serve._app as app\napp.UPLOAD_SECONDS = float(sys.argv.pop(1))\n"
    code += f"app.HELD = {held}\n" if held is not None else ""
    code += "from florafauna.commands.cli import main\nraise SystemExit(main(sys.argv[1:]))"
    python = sys.executable if ended else quick()
    command = [python, "-c", code, str(seconds), "serve", "--bundle", str(bundle), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        try:
            yield int(found[1])
            if ended:
                process.terminate()
                assert process.wait(60) in (0, -15)
        finally:
            process.kill()


def sent(port: int, declared: int, begun: bytes) -> socket.socket:
    """A connection that has sent the beginning of a photo."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"POST /photo?name=a.jpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {declared}\r\n\r\n"
    connection.sendall(head.encode() + begun)
    return connection


def asked(port: int, photo: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    connection.request("POST", "/photo?name=a.jpg", photo)
    return connection.getresponse().status


@pytest.fixture
def photo(photos: Path) -> bytes:
    return sorted(photos.iterdir())[0].read_bytes()


def test_slow_uploads_keep_nobody_waiting(bundle: Path, tmp_path: Path, photo: bytes) -> None:
    """Nor the server, which is told to end while they are under way."""
    with ExitStack() as slow:
        for port in served(bundle, tmp_path, 600, ended=True):
            for _ in range(MANY):
                slow.enter_context(sent(port, 1000, b"\xff"))
            time.sleep(0.5)
            start = time.monotonic()
            assert [asked(port, photo) for _ in range(4)] == [200] * 4
            assert time.monotonic() - start < SOON


def test_an_upload_has_its_time_however_often_a_byte_comes(bundle: Path, tmp_path: Path, photo: bytes) -> None:
    for port in served(bundle, tmp_path, SHORT):
        with sent(port, 1000, b"\xff") as slow:
            start, answer = time.monotonic(), b""
            slow.settimeout(0.2)
            while not answer and time.monotonic() - start < SOON:
                try:
                    slow.sendall(b"\xff")
                    answer = slow.recv(1 << 16)
                except TimeoutError:
                    continue
            slow.settimeout(SOON)
            while more := slow.recv(1 << 16):  # the body may come apart from the head
                answer += more
            assert b" 408 " in answer.splitlines()[0]
            assert b"too_slow" in answer
            assert time.monotonic() - start >= SHORT - 0.5
        assert asked(port, photo) == 200


def test_held_uploads_are_bounded_in_memory(bundle: Path, tmp_path: Path, photo: bytes) -> None:
    """When unfinished photos fill what there is, more is refused; when they are gone, it is free again."""
    piece, mebibyte = bytes(1 << 20), 1 << 20
    for port in served(bundle, tmp_path, 600, held=32 * mebibyte):
        with ExitStack() as held:
            for _ in range(4):
                begun = held.enter_context(sent(port, 8 * mebibyte, b""))
                for _ in range(7):
                    begun.sendall(piece)
            refused = held.enter_context(sent(port, 7 * mebibyte, b""))
            answer = b""
            try:
                for _ in range(6):
                    refused.sendall(piece)
                answer = refused.recv(1 << 16)
            except OSError:  # it has hung up
                answer = answer or b" 503 "
            assert b" 503 " in answer
        end = time.monotonic() + SOON
        while (status := asked(port, photo)) != 200 and time.monotonic() < end:
            time.sleep(0.2)
        assert status == 200
