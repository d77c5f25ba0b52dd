"""The bundles are DVC artifacts: fetched by name and by version from git and a remote, without a clone."""

from pathlib import Path

import yaml
from ci.test_docs import block
from helpers.project import REPOSITORY, Project
from helpers.team import publish

from florafauna.bundle.bundle import load_bundle
from florafauna.bundle.info import read_info

MODELS = ("efficientnet", "convnext", "vit")


def test_each_model_is_declared() -> None:
    declared = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["artifacts"]
    assert {name: each["path"] for name, each in declared.items()} == {name: f"models/{name}" for name in MODELS}
    for each in declared.values():
        assert each["type"] == "model"
        assert "image-classification" in each["labels"]
        assert each["desc"]


def test_a_bundle_is_fetched_by_name_and_by_version(branch: Project, tmp_path: Path) -> None:
    """As docs/remote.md says: a version is what it was when it was registered; without one it is the newest."""
    register, fetch = block("artifacts get")
    assert register[:3] == ["gto", "register", "vit"]
    first = read_info(branch.root / "models/vit")
    branch.run(*register)
    branch.change_params(evaluate__precision=0.4)
    assert branch.repro("evaluate@vit").stages == {"evaluate@vit"}
    branch.run("dvc", "push", "-q", "models/vit")
    publish(branch)
    branch.run(*register)
    shown = branch.run("gto", "show", "vit").out
    assert "v0.0.1" in shown
    assert "v0.0.2" in shown

    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    url = branch.run("git", "remote", "get-url", "origin").out.strip()
    assert fetch[:3] == ["dvc", "artifacts", "get"]
    command = [url if part.startswith("https://") else part for part in fetch]
    elsewhere.run(*command)
    assert load_bundle(elsewhere.root / fetch[-1]).info == first
    elsewhere.run("dvc", "artifacts", "get", url, "vit", "-o", "newest")
    info = read_info(elsewhere.root / "newest")
    assert info["calibration"]["thresholds"]["precision"] == 0.4
    assert info["sha256"] == first["sha256"]
