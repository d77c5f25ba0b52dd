"""One project for all tests that only read its report."""

from pathlib import Path

import pytest
from helpers.report_project import NAMES, TAXA, Project, make_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Six classes of known taxonomy, one named by markup; two models, their ensemble; photos with boxes and sites."""
    return make_project(tmp_path_factory.mktemp("report") / "project", NAMES, git=True, taxa=TAXA, cameras=True)


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """More classes than a table shows at first, without a taxonomy."""
    root: Path = tmp_path_factory.mktemp("report") / "many"
    return make_project(root, [f"Genus{number // 5} species{number:03d}" for number in range(150)], each=3)
