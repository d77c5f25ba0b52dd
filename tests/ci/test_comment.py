"""The comment on a pull request. In place of GitHub, a program named `gh` keeps what it is told."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.machines import needs_posix

from florafauna.base.errors import UserError
from florafauna.ci._comment import comment
from florafauna.ci._report import REPORT, markdown

pytestmark = needs_posix

GH = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
told = sys.argv[1:]
(folder / "told.json").write_text(json.dumps(told))
(folder / "body").write_bytes(pathlib.Path(told[told.index("--body-file") + 1]).read_bytes())
error = folder / "error"
if error.exists():
    sys.exit(error.read_text())
"""


@dataclass(frozen=True)
class Gh:
    """The stand-in: what it was told, and the message with which it fails."""

    folder: Path

    @property
    def told(self) -> list[str]:
        return json.loads((self.folder / "told.json").read_text())

    @property
    def body(self) -> str:
        return (self.folder / "body").read_text()

    def fail(self, message: str) -> None:
        (self.folder / "error").write_text(message)


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gh:
    """Alone on the PATH, for pull request 7."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gh").write_text(GH.format(python=sys.executable, folder=str(folder)))
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PULL_REQUEST", "7")
    return Gh(folder)


@pytest.fixture
def report(tmp_path: Path) -> str:
    """What `make ci-report` left."""
    text = markdown("Passed.", [], "main", "No change.", "No change.")
    (tmp_path / REPORT).parent.mkdir(parents=True)
    (tmp_path / REPORT).write_text(text)
    return text


def test_the_report_becomes_the_one_comment(gh: Gh, report: str, tmp_path: Path) -> None:
    assert comment(tmp_path) == "the comment on pull request 7 was written."
    assert gh.told[:3] == ["pr", "comment", "7"]
    assert {"--edit-last", "--create-if-none"} <= set(gh.told)
    assert gh.body == report


@pytest.mark.parametrize(
    "message",
    [
        "GraphQL: Resource not accessible by integration (addComment)",
        "HTTP 403: Resource not accessible by integration (https://api.github.com/graphql)",
    ],
)
def test_a_token_that_may_only_read_is_no_failure(gh: Gh, report: str, tmp_path: Path, message: str) -> None:
    gh.fail(message)
    assert "the token may only read, as on a pull request from a fork" in comment(tmp_path)


def test_github_in_trouble_is_one_sentence(gh: Gh, report: str, tmp_path: Path) -> None:
    gh.fail("HTTP 502: Bad Gateway (https://api.github.com/graphql)")
    with pytest.raises(UserError, match=r"`gh pr comment` failed: HTTP 502: Bad Gateway .*; run the job again\."):
        comment(tmp_path)


def test_without_a_pull_request_gh_or_a_report_nothing_is_sent(
    gh: Gh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="run `make ci-report` first"):
        comment(tmp_path)
    (gh.folder / "gh").rename(gh.folder / "other")
    assert "is not installed" in comment(tmp_path)
    monkeypatch.delenv("PULL_REQUEST")
    assert "PULL_REQUEST, the number of a pull request, is not set" in comment(tmp_path)
    assert not (gh.folder / "told.json").exists()


def test_a_report_that_github_would_refuse_is_cut_at_a_line() -> None:
    text = markdown("Passed.", [], "main", "\n".join(f"| row {number} |" for number in range(20_000)), "")
    assert len(text) < 65_536
    assert text.endswith(" |\n\n… cut; all is in the log.\n")
