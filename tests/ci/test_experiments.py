"""`dvc exp run`, queued, in parallel and in a temporary folder: results do not mix, the working tree stays as it is."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ci.test_docs import block
from helpers.project import Project
from helpers.team import Origin

DEADLINE = 300  # seconds until a queue that does not end counts as stuck
RATES = (0.003, 0.03)  # those in docs/remote.md


@pytest.fixture(scope="module")
def alone(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project after the documented run in the working tree."""
    project = origin.branch(tmp_path_factory.mktemp("alone") / "work")
    (command,) = block("exp run -S")
    assert project.run(*command).stages == {"train_vit", "folds@vit", "evaluate@vit", "compare"}
    return project


@pytest.fixture
def work(origin: Origin, tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return origin.branch(tmp_path / "work")


def experiments(project: Project) -> dict[float, str]:
    """The git reference of each finished experiment, by the rate of vit in it."""
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").out.splitlines()
    named = [ref for ref in refs if len(ref.split("/")) == 5 and "celery" not in ref]
    return {content(project, ref, "params.yaml")["models"]["vit"]["rate"]: ref for ref in named}


def content(project: Project, ref: str, path: str) -> Any:
    return yaml.safe_load(project.run("git", "show", f"{ref}:{path}").out)


def trained(lock: dict[str, Any], name: str) -> str:
    """The hash of a trained model."""
    return next(
        out["md5"] for out in lock["stages"][f"train_{name}"]["outs"] if out["path"] == f"models/trained/{name}"
    )


def weights(project: Project, folder: str) -> str:
    """The hash of the weights of a trained model that the cache holds."""
    listing = json.loads((project.root / ".dvc/cache/files/md5" / folder[:2] / folder[2:]).read_text())
    return next(str(entry["md5"]) for entry in listing if entry["relpath"] == "model.safetensors")


def state(project: Project) -> dict[str, int]:
    """What outlives a run in the working tree, and when it was written."""
    files = (project.root / ".florafauna").rglob("*")
    return {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}


def test_an_experiment_in_the_working_tree_reruns_what_depends_on_the_param(alone: Project) -> None:
    assert alone.params()["models"]["vit"]["rate"] == RATES[0]
    assert set(experiments(alone)) == {RATES[0]}


def test_runs_in_folders_of_their_own_give_what_each_gives_alone(work: Project, alone: Project) -> None:
    """The queue as documented, with two workers; then one run with `--temp`."""
    before, kept = work.run("git", "status", "--porcelain").out, state(work)
    *queued, start, status, show = block("queue start")
    for command in queued:
        work.run(*command)
    assert start[-2:] == ["--jobs", "1"]
    work.run(*start[:-1], "2")
    end = time.monotonic() + DEADLINE
    while (text := work.run(*status).out).count("Success") < len(queued) and time.monotonic() < end:
        assert "Failed" not in text
        time.sleep(1)
    found = experiments(work)
    assert set(found) == set(RATES)
    locks = {rate: content(work, ref, "dvc.lock") for rate, ref in found.items()}
    assert trained(locks[RATES[0]], "vit") != trained(locks[RATES[1]], "vit")
    assert trained(locks[RATES[0]], "convnext") == trained(locks[RATES[1]], "convnext")
    lock = yaml.safe_load((alone.root / "dvc.lock").read_text())
    assert weights(work, trained(locks[RATES[0]], "vit")) == weights(alone, trained(lock, "vit"))
    shown = work.run(*show, "--no-pager").out
    for ref in found.values():
        assert ref.split("/")[-1] in shown

    work.run("dvc", "exp", "run", "--temp", "-S", "models.vit.rate=0.04")
    assert set(experiments(work)) == {*RATES, 0.04}
    assert work.run("git", "status", "--porcelain").out == before
    assert state(work) == kept
