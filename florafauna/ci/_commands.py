"""git and dvc as child processes in the repository."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from florafauna.base.errors import UserError


@dataclass(frozen=True)
class Done:
    """The result of a command: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def last_error(self) -> str:
        """dvc's last `ERROR: ...` line without that prefix, else the last line."""
        lines = [line.strip() for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
        return (errors or lines or ["no message"])[-1].rstrip(".")


def run(root: Path, *command: str) -> Done:
    """Run a command in `root`; the caller checks the exit code, a missing program is a `UserError`."""
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except FileNotFoundError:
        raise UserError(f"'{command[0]}' is not installed or not on the PATH; run `make setup`.") from None
    return Done(done.returncode, done.stdout, done.stderr)


def output(root: Path, *command: str) -> str:
    """The output of a command; `UserError` with its last line if it fails."""
    done = run(root, *command)
    if done.code:
        raise UserError(f"`{' '.join(command)}` failed: {done.last_error}.")
    return done.out


def committed(root: Path, revision: str, path: str) -> str | None:
    """The text of a file in a git revision; None if that revision has no such file."""
    done = run(root, "git", "show", f"{revision}:./{path}")
    return None if done.code else done.out


def require_revision(root: Path, revision: str) -> None:
    """`UserError` unless this clone has `revision`."""
    if run(root, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").code:
        name = revision.removeprefix("origin/")
        # a clone of one branch would fetch another without keeping its name
        to = name if name == revision else f"refs/remotes/{revision}"
        raise UserError(
            f"this clone has no '{revision}' to compare with; run `git fetch origin {name}:{to}` "
            "or name another branch with BASE=..."
        )
