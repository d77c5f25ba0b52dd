"""One project that has run, made once; every test works on a copy."""

from pathlib import Path

import pytest
from helpers.project import Project, changed_project, finished_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first `dvc repro`, committed. Not to be changed."""
    return finished_project(tmp_path_factory).copy_to(tmp_path_factory.mktemp("project") / "repository")


@pytest.fixture
def changed(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A copy of the project after vit's rate was changed and `dvc repro`; not committed."""
    return changed_project(tmp_path_factory).copy_to(tmp_path / "changed")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return finished.copy_to(tmp_path / "repository")
