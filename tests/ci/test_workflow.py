"""The workflow files are valid, and what they run are make targets or commands that are documented for a laptop."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.project import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
PIPELINE, TESTS = WORKFLOWS
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.fixture
def steps() -> list[dict[str, Any]]:
    """Of the check of pull requests."""
    return steps_of(PIPELINE)


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    """Check against the schema of GitHub workflows that check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@each_workflow
def test_the_workflow_matches_githubs_schema(workflow: Path) -> None:
    done = lint(workflow)
    assert done.returncode == 0, done.stdout


@each_workflow
def test_the_linter_would_refuse_a_mistake(workflow: Path, tmp_path: Path) -> None:
    broken = tmp_path / workflow.name
    broken.write_text(workflow.read_text(encoding="utf-8").replace("runs-on:", "run-on:"), encoding="utf-8")
    assert lint(broken).returncode == 1


@each_workflow
def test_actionlint(workflow: Path) -> None:
    """Its binary comes from GitHub, so only those who have it run it."""
    program = shutil.which("actionlint")
    if program is None:
        pytest.skip("actionlint is not installed")
    done = subprocess.run([program, str(workflow)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_checks_follow_one_another_also_with_j(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho begun $3\nsleep 0.1\necho ended $3\n")
    python.chmod(0o755)
    (tmp_path / ".venv/.ready").touch()
    done = subprocess.run(["make", "-s", "-j4", "ci"], cwd=tmp_path, capture_output=True, text=True, check=True)
    steps = ("pull", "scores", "repro", "drop", "report")
    assert done.stdout.splitlines() == [f"{word} {step}" for step in steps for word in ("begun", "ended")]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
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


@each_workflow
def test_no_expression_is_pasted_into_a_shell_command(workflow: Path) -> None:
    """The name of a branch is anybody's text."""
    assert not [step["run"] for step in steps_of(workflow) if "${{" in step.get("run", "")]


def test_the_suite_runs_on_the_machines_that_people_have() -> None:
    (job,) = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["jobs"].values()
    assert job["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "windows-latest", "macos-latest"],
        "python": ["3.11", "3.13"],
    }
    assert job["runs-on"] == "${{ matrix.os }}"
    assert not job["strategy"]["fail-fast"]


def test_it_runs_what_is_documented_for_machines_without_make() -> None:
    text = (REPOSITORY / "docs/install.md").read_text(encoding="utf-8")
    documented = {line for block in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL) for line in block.splitlines()}
    ran = [step["run"].removeprefix("python -m ") for step in steps_of(TESTS) if "run" in step]
    assert ran[0].startswith("pip install ")
    assert ran[-1] == "pytest"
    assert set(ran) <= {command.removeprefix("python -m ") for command in documented}


def test_without_make_the_same_is_run_as_with_it() -> None:
    """What `make run` and `make test` do, once there is an environment; only the browser is fetched by make alone."""
    text = (REPOSITORY / "docs/install.md").read_text(encoding="utf-8")
    run, test = re.findall(r"```sh\n((?:dvc|ruff).*?)```", text, re.DOTALL)
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert run.splitlines() == recipe(makefile, "run")
    assert test.splitlines() == recipe(makefile, "lint") + recipe(makefile, "test")


def recipe(makefile: str, target: str) -> list[str]:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found
    return [line.strip() for line in found[1].splitlines()]
