"""The report as one comment on the pull request, written again instead of added to."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from florafauna.base.errors import UserError
from florafauna.ci._report import MARK, REPORT

SECONDS = 30


def comment(root: Path = Path()) -> str:
    """Write build/ci/report.md as a comment; outside a pull request, say so and do nothing.

    Reads what GitHub Actions sets (GITHUB_API_URL, GITHUB_REPOSITORY), GITHUB_TOKEN, and PULL_REQUEST, its number.
    """
    number, token = os.environ.get("PULL_REQUEST"), os.environ.get("GITHUB_TOKEN")
    if not number or not token:
        return "no comment was written: PULL_REQUEST and GITHUB_TOKEN are not set."
    try:
        text = (root / REPORT).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{REPORT} is missing; run `make ci-report` first.") from None
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    comments = f"{api}/repos/{os.environ.get('GITHUB_REPOSITORY', '')}/issues/{number}/comments"
    try:
        earlier = [each["url"] for each in _all(comments, token) if MARK in (each.get("body") or "")]
        if earlier:
            _send("PATCH", earlier[0], token, {"body": text})
        else:
            _send("POST", comments, token, {"body": text})
    except urllib.error.HTTPError as error:
        if error.code == 403:  # a pull request from a fork: its token may only read
            return "no comment was written: the token may not write, as on a pull request from a fork; see the summary."
        raise UserError(f"GitHub refused the comment ({error.code} {error.reason}); run the job again.") from None
    except OSError as error:
        raise UserError(f"GitHub cannot be reached ({error}); run the job again.") from None
    return f"the comment on pull request {number} was written."


def _all(comments: str, token: str) -> list[dict[str, Any]]:
    """All comments, page by page."""
    found: list[dict[str, Any]] = []
    for page in range(1, 31):
        some = _send("GET", f"{comments}?per_page=100&page={page}", token)
        found += some
        if len(some) < 100:
            break
    return found


def _send(method: str, url: str, token: str, body: dict[str, Any] | None = None) -> Any:
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "Content-Type": "application/json",
    }
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.loads(answer.read())
