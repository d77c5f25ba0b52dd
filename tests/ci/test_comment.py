"""The comment on a pull request, over HTTP, to a server that keeps comments as GitHub does."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from florafauna.base.errors import UserError
from florafauna.ci._comment import comment
from florafauna.ci._report import REPORT, markdown


@dataclass
class Thread:
    """A pull request's comments; `status` other than 200 refuses all writing."""

    url: str = ""
    bodies: list[str] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[Thread]:
    """Pull request 7 of me/birds."""
    kept = Thread()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, value: object, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def sent(self) -> str:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            page = int(query.rpartition("page=")[2])
            found = [
                {"url": f"{kept.url}{path}/{number}", "body": body} for number, body in enumerate(kept.bodies)
            ]  # fmt: skip
            known = path == "/repos/me/birds/issues/7/comments" and self.headers["Authorization"] == "Bearer secret"
            self.answer(found[(page - 1) * 100 : page * 100], 200 if known else 404)

        def do_POST(self) -> None:
            body = self.sent()
            if kept.status == 200:
                kept.bodies.append(body)
            self.answer({}, kept.status)

        def do_PATCH(self) -> None:
            kept.bodies[int(self.path.rpartition("/")[2])] = self.sent()
            self.answer({})

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("GITHUB_API_URL", kept.url)
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/birds")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("PULL_REQUEST", "7")
    yield kept
    server.shutdown()
    server.server_close()


def write(root: Path, verdict: str) -> str:
    text = markdown(verdict, [], "main", "No change.", "No change.")
    (root / REPORT).parent.mkdir(parents=True, exist_ok=True)
    (root / REPORT).write_text(text)
    return text


def test_one_comment_is_written_and_then_replaced_among_many(thread: Thread, tmp_path: Path) -> None:
    thread.bodies += [f"remark {number}" for number in range(130)]
    first = write(tmp_path, "Failed: a reason.")
    comment(tmp_path)
    assert thread.bodies[130:] == [first]
    second = write(tmp_path, "Passed.")
    comment(tmp_path)
    assert thread.bodies[130:] == [second]
    assert thread.bodies[129] == "remark 129"


def test_a_token_that_may_only_read_is_no_failure(thread: Thread, tmp_path: Path) -> None:
    write(tmp_path, "Passed.")
    thread.status = 403
    assert "may not write, as on a pull request from a fork" in comment(tmp_path)
    assert thread.bodies == []


def test_github_in_trouble_is_one_sentence(thread: Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "Passed.")
    thread.status = 500
    with pytest.raises(UserError, match=r"GitHub refused the comment \(500 .*\); run the job again\."):
        comment(tmp_path)
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match="GitHub cannot be reached"):
        comment(tmp_path)


def test_outside_a_pull_request_nothing_is_sent(tmp_path: Path) -> None:
    assert "PULL_REQUEST and GITHUB_TOKEN are not set" in comment(tmp_path)


def test_a_report_that_github_would_refuse_is_cut_at_a_line() -> None:
    text = markdown("Passed.", [], "main", "\n".join(f"| row {number} |" for number in range(20_000)), "")
    assert len(text) < 65_536
    assert text.endswith(" |\n\n… cut; all is in the log.\n")
