"""One project that has run and was pushed, made once: a bare git repository and a DVC remote in a folder."""

import shutil
from pathlib import Path

import pytest
from helpers.project import REPOSITORY, Project, changed_project, finished_project
from helpers.team import Origin, Runner, linked


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch that a change is compared with, as the workflow sets it."""
    monkeypatch.setenv("BASE", "origin/main")
    for name in ("GITHUB_STEP_SUMMARY", "PULL_REQUEST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """A finished project whose photos DVC tracks, pushed. Not to be changed."""
    folder = tmp_path_factory.mktemp("origin")
    project = finished_project(tmp_path_factory).copy_to(folder / "repository")
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(REPOSITORY / name, project.root / name)
    project.run("git", "rm", "-rq", "--cached", "photos")
    project.run("dvc", "add", "-q", "photos")
    project.run("dvc", "remote", "add", "-d", "team", str(folder / "remote"))
    assert project.repro().stages == set(), "photos are the same, whoever tracks them"
    project.commit("photos in DVC")
    project.run("dvc", "push", "-q")
    project.run("git", "clone", "-q", "--bare", ".", str(folder / "origin.git"))
    project.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    return Origin(folder / "origin.git", folder / "remote", project)


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where vit was trained again at another rate. Not to be changed."""
    return changed_project(tmp_path_factory)


@pytest.fixture
def runner(origin: Origin, tmp_path: Path) -> Runner:
    """A fresh clone of main."""
    return origin.clone(tmp_path / "runner")


@pytest.fixture
def branch(origin: Origin, tmp_path: Path) -> Project:
    """Where somebody works on a branch named `change`, with photos, cache and a DVC remote of the test's own."""
    project = origin.branch(tmp_path / "work")
    linked(origin.folder, tmp_path / "remote")
    shutil.copytree(origin.git, tmp_path / "origin.git")
    project.run("git", "remote", "set-url", "origin", str(tmp_path / "origin.git"))
    config = project.root / ".dvc/config"
    config.write_text(config.read_text().replace(str(origin.folder), str(tmp_path / "remote")))
    project.commit("a remote of one's own")
    project.run("git", "push", "-q", "origin", "main")
    project.run("git", "checkout", "-q", "-b", "change")
    return project
