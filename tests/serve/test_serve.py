"""The page of `florafauna serve`, in a real browser and by requests that no browser sends."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.machines import needs_proc
from helpers.project import REPOSITORY
from helpers.tiny import Place
from PIL import Image

from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Server:
    """A running `florafauna serve` and the folder that it runs in."""

    process: subprocess.Popen[str]
    port: int
    root: Path

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: Any = None, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; nothing is added to the request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, given)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def peak_memory(self) -> int:
        """Bytes that the process held at most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) * 1024


def started(root: Path, bundle: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "florafauna.commands.cli", "serve", "--bundle", str(bundle), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        yield Server(process, int(found[1]), root)
        process.terminate()
        assert process.wait(20) in (0, -15)


@pytest.fixture(scope="module")
def server(bundle: Path, hundred: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With training photos and one class, newt, that is always unknown."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(hundred.train, root / "data/processed/train")
    info = read_info(bundle)
    thresholds = {"global": 0.0, "per_class": {"newt": None}, "precision": 0.9, "roll_up": None, "sentence": ""}
    shutil.copytree(bundle, root / "bundle")
    write_info(root / "bundle", info | {"calibration": info["calibration"] | {"thresholds": thresholds}})
    yield from started(root, root / "bundle")


@pytest.fixture
def page(browser: "playwright.Browser", server: Server) -> "Iterator[playwright.Page]":
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(server.url)
        page.get_by_text("knows 3 classes").wait_for()
        yield page


def cards(page: "playwright.Page", *files: Path) -> "playwright.Locator":
    """The cards of files that were chosen, the latest first, when all are done."""
    page.set_input_files("#files", files)
    page.locator(".card").nth(len(files) - 1).wait_for()
    for card in page.locator(".card").all():
        card.and_(page.locator(":not(.waiting)")).wait_for()
    return page.locator(".card")


def test_photos_get_the_labels_of_predict(
    page: "playwright.Page", server: Server, photos: Path, tmp_path: Path
) -> None:
    chosen = sorted(photos.iterdir())[::9]
    done = cards(page, *chosen)
    lines = tmp_path / "o.jsonl"
    given = [str(path) for path in chosen]
    assert main(["predict", *given, "--bundle", str(server.root / "bundle"), "--out", str(lines)]) == 0
    expected = {Path(row["path"]).name: row for row in map(json.loads, lines.read_text().splitlines())}
    assert done.count() == len(chosen)
    for card in done.all():
        row = expected[card.locator(".name").inner_text()]
        assert card.locator("h2").inner_text().lower() == row["label"]
        assert card.locator(".labels li > span:first-child").all_inner_texts() == [row[f"label_{n}"] for n in (1, 2, 3)]
        shown = [float(text.split()[0]) for text in card.locator(".value").all_inner_texts()]
        assert shown == pytest.approx([100 * row[f"confidence_{n}"] for n in (1, 2, 3)], abs=1)
        assert card.locator(".badge").inner_text() == ("sure enough" if row["accepted"] else "not sure enough")
    assert {row["accepted"] for row in expected.values()} == {True, False}


def test_where_nothing_is_promised_the_page_calls_no_photo_sure_or_unsure(
    page: "playwright.Page", photos: Path
) -> None:
    def without_promise(route: "playwright.Route") -> None:
        found = route.fetch()
        route.fulfill(response=found, json=found.json() | {"accepted": None})

    page.route("**/photo?*", without_promise)
    (card,) = cards(page, sorted(photos.iterdir())[0]).all()
    assert card.locator("h2").inner_text() == card.locator(".labels li > span:first-child").first.inner_text()
    assert not card.locator(".badge").count()


def test_the_nearest_training_photos_are_of_the_predicted_class(
    page: "playwright.Page", server: Server, hundred: Place
) -> None:
    """A training photo is most like itself, whether it is right or not."""
    photo = sorted((hundred.root / "photos/train").iterdir())[0]
    (card,) = cards(page, photo).all()
    card.locator(".near img").first.wait_for()
    label = card.locator(".labels li span").first.inner_text()
    assert card.locator(".near p").inner_text() == f"The training photos of {label} most like it"
    likeness = [float(text) for text in card.locator(".near li").all_inner_texts()]
    assert likeness == sorted(likeness, reverse=True)
    assert label != photo.name.partition("-")[0] or likeness[0] > 0.99
    for image in card.locator(".near img").all():
        image.scroll_into_view_if_needed()
        image.evaluate("each => each.decode()")
        assert image.evaluate("each => each.naturalWidth") > 0
    assert len(list((server.root / ".florafauna/neighbours").glob("*/complete.json"))) == 1


def test_what_is_no_photo_is_refused_with_the_reason(page: "playwright.Page", photos: Path, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    whole = sorted(photos.iterdir())[0].read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(GIGABYTE)
    shutil.copy(sorted(photos.iterdir())[0], tmp_path / "photo.jpg")
    done = cards(page, *sorted(tmp_path.iterdir()))
    said = {card.locator(".name").inner_text(): card.locator(".sure").all_inner_texts() for card in done.all()}
    assert "decode to more than" in said["bomb.png"][0]
    assert "not an image in a known format" in said["text.jpg"][0]
    assert "no content" in said["empty.jpg"][0]
    assert "a video" in said["film.mp4"][0].lower()
    assert "truncated" in said["half.jpg"][0].lower()
    assert "1024 MB; 128 MB is the most" in said["large.jpg"][0]
    assert page.locator(".badge.refused").count() == 6
    assert page.locator(".labels").count() == 1


def test_dropped_files_keep_their_names_as_text(page: "playwright.Page", server: Server) -> None:
    """A path and markup, as no file manager would hand over, but any script can."""
    before = {path for path in server.root.rglob("*") if "neighbours" not in path.as_posix()}
    names = ["../../etc/passwd", "<img src=x onerror=alert(1)>.jpg"]
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    transfer = page.evaluate_handle(
        """names => {
            const transfer = new DataTransfer();
            for (const name of names) transfer.items.add(new File(["no picture"], name));
            return transfer;
        }""",
        names,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    page.locator(".refused").nth(1).wait_for()
    shown = {card.locator(".name").inner_text(): card.inner_text() for card in page.locator(".card").all()}
    assert list(shown) == names[::-1]
    assert "is a path" in shown[names[0]]
    assert said == []
    assert {path for path in server.root.rglob("*") if "neighbours" not in path.as_posix()} == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_can_be_read_and_asks_nobody_else(
    browser: "playwright.Browser", server: Server, photos: Path, scheme: str
) -> None:
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        cards(page, *sorted(photos.iterdir())[:2])
        page.locator(".near img").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "choose"
        page.click("#clear")
        assert page.locator(".card").count() == 0
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", server.url))] == []


def test_requests_of_other_sites_and_under_other_names_are_refused(server: Server, photos: Path) -> None:
    photo, port = sorted(photos.iterdir())[0].read_bytes(), server.port
    assert server.ask("/photo?name=a.jpg", photo)[0] == 200
    assert server.ask("/photo?name=a.jpg", photo, Origin=server.url, Sec_Fetch_Site="same-origin")[0] == 200
    refused = [
        server.ask("/", Host="evil.example"),
        server.ask("/", Host=f"evil.example:{port}"),
        server.ask("/", Host="127.0.0.1:1"),
        server.ask("/", Host=f"127.0.0.1.evil.example:{port}"),
        server.ask("/photo?name=a.jpg", photo, Origin="http://evil.example"),
        server.ask("/photo?name=a.jpg", photo, Origin="null"),
        server.ask("/photo?name=a.jpg", photo, Origin="http://127.0.0.1:1"),
        server.ask("/photo?name=a.jpg", photo, Sec_Fetch_Site="cross-site"),
        server.ask("/train/0", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"),
    ]
    assert [status for status, _, _ in refused] == [403] * len(refused)
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert server.ask("/", Host=f"{name}:{port}")[0] == 200
    assert "access-control-allow-origin" not in server.ask("/about", Origin=server.url)[1]
    assert "script-src 'self'" in server.ask("/")[1]["content-security-policy"]
    assert server.ask("/", method="HEAD")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../etc/passwd", "/../../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/train/../../x",
        "/train/99999", "/train/-1", "/train/x", "/near/1e9", "/docs", "/openapi.json", "//etc/passwd",
        "/page.css/../bundle.json",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_message(server: Server, path: str) -> None:
    status, headers, body = server.ask(path)
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert "root:" not in body.decode()
    assert json.loads(body)["error"].endswith(".")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b.jpg", "..\\a.jpg", "..", "a\nb.jpg", "a\0.jpg"])
def test_a_name_that_is_a_path_is_refused(server: Server, photos: Path, name: str) -> None:
    from urllib.parse import quote

    status, _, body = server.ask(f"/photo?name={quote(name, safe='')}", sorted(photos.iterdir())[0].read_bytes())
    assert status in (400, 415)
    assert json.loads(body)["reason"] == "bad_name"


@needs_proc
def test_a_gigabyte_is_refused_and_never_held(server: Server) -> None:
    """Told beforehand, it is refused at once; sent in pieces of unknown number, at the limit."""
    before = server.peak_memory()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as told:
        head = f"POST /photo?name=a.jpg HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        told.sendall(f"{head}Content-Length: {GIGABYTE}\r\n\r\n".encode())
        assert b" 413 " in told.recv(1 << 16)
    piece = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as pieces:
        pieces.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while sent < GIGABYTE:
                pieces.sendall(piece)
                sent += 1 << 20
        except OSError:
            pass  # it has hung up
        try:
            answer = pieces.recv(1 << 16)
        except OSError:
            answer = b""  # the answer was lost with the connection
    assert sent < GIGABYTE / 2
    assert answer == b"" or b" 413 " in answer
    assert server.peak_memory() - before < 400 << 20
    assert server.ask("/about")[0] == 200


def test_a_taken_port_and_a_wrong_bundle_are_one_sentence(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        (["--bundle", str(server.root / "bundle"), "--port", str(server.port)], "is in use"),
        (["--bundle", str(tmp_path), "--port", "0"], "holds no bundle.json"),
        (["--bundle", str(tmp_path), "--host", "no.such.host.invalid"], "is not an address"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["serve", *arguments])
        assert ended.value.code == 1
        error = capsys.readouterr().err
        assert words in error
        assert len(error.splitlines()) == 1


@needs_proc
def test_it_listens_on_this_machine_alone(server: Server) -> None:
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[1] for line in table if line.split()[3] == "0A"}
    assert [each for each in listening if each.endswith(f":{server.port:04X}")] == [f"0100007F:{server.port:04X}"]
