"""The screening is a pipeline of its own: it runs when asked for, and computes the features of a new backbone alone."""

import shutil

from helpers.project import REPOSITORY, Project


def stages(*names: str) -> set[str]:
    return {f"screen/dvc.yaml:{name}" for name in names}


def test_a_backbone_added_later_computes_only_its_own_features(project: Project) -> None:
    (project.root / "screen").mkdir()
    shutil.copy(REPOSITORY / "screen/dvc.yaml", project.root / "screen/dvc.yaml")
    assert project.repro().stages == set(), "a params.yaml without the section is one without backbones"
    backbone = {"architecture": "test_efficientnet", "weights": "none", "size": 64}
    project.change_params(screen={"folds": 3, "draws": 2, "backbones": {"small": backbone}})
    assert project.repro().stages == set(), "the main pipeline does not wait for it"
    assert project.repro("screen/dvc.yaml").stages == stages("weights@small", "features@small", "screen")

    project.change_params(screen__backbones__other=backbone | {"weights": {"source": "none", "seed": 1}})
    assert project.repro("screen/dvc.yaml").stages == stages("weights@other", "features@other", "screen")
    assert project.run("dvc", "status").out.startswith("Data and pipelines are up to date")

    project.append("florafauna/screen/templates/screening.html.j2", "{# changed #}\n")
    stale = project.run("dvc", "status").out
    assert "screen/dvc.yaml:screen:" in stale
    assert "features@" not in stale

    read = project.run("dvc", "dag", "--dot", "--outs", "screen/dvc.yaml:screen").out
    assert "data/processed/train" in read
    assert "data/processed/test" not in read
