"""The report as one comment on the pull request: the first run writes it, later runs edit it."""

import os
import shutil
from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.ci._commands import run
from florafauna.ci._report import REPORT


def comment(root: Path = Path()) -> str:
    """Post build/ci/report.md with GitHub's own `gh`; if that is not possible, say why and do nothing.

    PULL_REQUEST is the number of the pull request; `gh` itself reads GH_TOKEN.
    """
    number = os.environ.get("PULL_REQUEST")
    if not number:
        return "no comment was written: PULL_REQUEST, the number of a pull request, is not set."
    if shutil.which("gh") is None:
        return "no comment was written: `gh`, the command line tool of GitHub, is not installed."
    if not (root / REPORT).is_file():
        raise UserError(f"{REPORT} is missing; run `make ci-report` first.")
    done = run(root, "gh", "pr", "comment", number, "--edit-last", "--create-if-none", "--body-file", str(REPORT))
    if "Resource not accessible by integration" in done.err or "HTTP 403" in done.err:
        return "no comment was written: the token may only read, as on a pull request from a fork; see the job summary."
    if done.code:
        raise UserError(f"`gh pr comment` failed: {done.last_error}; run the job again.")
    return f"the comment on pull request {number} was written."
