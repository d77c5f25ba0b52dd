"""The workflow file is valid, and all that it runs are make targets, which run the same steps on a laptop."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.project import REPOSITORY

WORKFLOW = REPOSITORY / ".github/workflows/pipeline.yml"


@pytest.fixture
def steps() -> list[dict[str, Any]]:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    """Check against the schema of GitHub workflows that check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_workflow_matches_githubs_schema() -> None:
    done = lint(WORKFLOW)
    assert done.returncode == 0, done.stdout


def test_the_linter_would_refuse_a_mistake(tmp_path: Path) -> None:
    broken = tmp_path / "pipeline.yml"
    broken.write_text(WORKFLOW.read_text().replace("runs-on:", "run-on:"))
    assert lint(broken).returncode == 1


def test_actionlint() -> None:
    """Its binary comes from GitHub, so only those who have it run it."""
    program = shutil.which("actionlint")
    if program is None:
        pytest.skip("actionlint is not installed")
    done = subprocess.run([program, str(WORKFLOW)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_everything_it_runs_is_a_make_target_of_one_step(steps: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    ran = [step["run"] for step in steps if "run" in step]
    assert ran[0] == "make setup"
    for command in ran[1:]:
        target = re.fullmatch(r"make (ci-[a-z]+)", command)
        assert target, command
        dry = subprocess.run(
            ["make", "-n", "--no-print-directory", target[1]], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert dry.stdout.strip() == f"python -m florafauna.ci {target[1].removeprefix('ci-')}"


def test_the_steps_come_in_the_order_in_which_the_report_tells_them(steps: list[dict[str, Any]]) -> None:
    from florafauna.ci._outcome import STEPS

    ran = [step["run"].removeprefix("make ci-") for step in steps if "run" in step][1:]
    assert ran == [*STEPS, "report", "comment"]


def test_after_a_failure_the_report_is_still_written_commented_and_uploaded(steps: list[dict[str, Any]]) -> None:
    after = [step for step in steps if step.get("if") == "${{ !cancelled() }}"]
    assert [step.get("run", step.get("uses", "").partition("@")[0]) for step in after] == [
        "make ci-report",
        "make ci-comment",
        "actions/upload-artifact",
    ]


def test_the_comment_is_written_with_the_token_of_the_job(steps: list[dict[str, Any]]) -> None:
    (step,) = [step for step in steps if step.get("run") == "make ci-comment"]
    assert step["env"] == {
        "GH_TOKEN": "${{ github.token }}",
        "PULL_REQUEST": "${{ github.event.pull_request.number }}",
    }


def test_no_expression_is_pasted_into_a_shell_command(steps: list[dict[str, Any]]) -> None:
    """The name of a branch is anybody's text."""
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
