"""dvc.yaml declares what the code needs, no more and no less; nothing is trained on test photos."""

from pathlib import Path

import pytest
import yaml
from helpers.closure import import_closure
from helpers.project import REPOSITORY, Project

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]


def script(name: str) -> Path:
    return REPOSITORY / "stages" / f"{'train' if name.startswith('train_') else name}.py"


@pytest.mark.parametrize("name", STAGES)
def test_declared_code_is_the_import_closure(name: str) -> None:
    declared: set[str] = set()
    for path in STAGES[name]["deps"]:
        if path.startswith(("stages/", "florafauna/")):
            folder = REPOSITORY / path
            files = folder.rglob("*") if folder.is_dir() else [folder]
            declared |= {file.relative_to(REPOSITORY).as_posix() for file in files if file.suffix == ".py"}
    assert declared == import_closure(script(name), REPOSITORY)


@pytest.mark.parametrize("name", STAGES)
def test_folders_that_the_code_reads_are_declared_as_a_whole(name: str) -> None:
    """Templates and other files beside the code are dependencies, too."""
    declared = set(STAGES[name]["deps"])
    for module in import_closure(script(name), REPOSITORY):
        folder = (REPOSITORY / module).parent
        inside = folder.rglob("*") if folder.name not in ("florafauna", "stages") else folder.glob("*")
        assets = [file for file in inside if file.is_file() and file.suffix not in (".py", ".pyc")]
        if assets:
            assert folder.relative_to(REPOSITORY).as_posix() in declared


def test_no_training_stage_depends_on_test_photos(finished: Project) -> None:
    """Walk `dvc dag` upwards from every training stage: the store of test photos is not among what it reads."""
    lock = yaml.safe_load((finished.root / "dvc.lock").read_text())["stages"]
    for name in ("efficientnet", "convnext", "vit"):
        read = {dep["path"] for dep in lock[f"train_{name}"]["deps"]}
        assert {"data/processed/train", "data/processed/val"} < read
        assert not {path for path in read if "test" in path or path in ("photos", "data/manifest.csv")}
        ancestors = finished.run("dvc", "dag", "--dot", "--outs", f"train_{name}").out
        assert "data/processed/train" in ancestors
        assert "data/processed/test" not in ancestors


def test_stages_and_files_have_the_names_that_users_type(finished: Project) -> None:
    listed = {line.split()[0] for line in finished.run("dvc", "stage", "list", "--name-only").out.splitlines()}
    names = ("efficientnet", "convnext", "vit")
    assert listed == {
        "split", "preprocess", "compare", *(f"{stage}@{name}" for stage in ("weights", "evaluate") for name in names),
        *(f"train_{name}" for name in names),
    }  # fmt: skip
    tracked = set(finished.run("git", "ls-files").out.splitlines())
    metrics = {f"metrics/{name}.json" for name in ("data", "comparison", "vit", "details/comparison", "details/vit")}
    assert {"dvc.lock", *metrics} <= tracked
    produced = {path for path in tracked if path.startswith(("models/", "data/processed/", "predictions/", "plots/"))}
    assert {path.rpartition("/")[2] for path in produced} == {".gitignore"}


def test_split_and_compare_do_without_torch() -> None:
    for name in ("split", "compare"):
        for module in import_closure(script(name), REPOSITORY):
            text = (REPOSITORY / module).read_text(encoding="utf-8")
            assert "import torch" not in text, module
            assert "from torch" not in text, module
