"""What `dvc dag` says: nothing is trained on test photos, and stages and files have the names that users type."""

import yaml
from helpers.project import Project


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
        assert "predictions/folds" not in ancestors, "which has seen test photos where everything is cross-validated"


def test_stages_and_files_have_the_names_that_users_type(finished: Project) -> None:
    listed = {line.split()[0] for line in finished.run("dvc", "stage", "list", "--name-only").out.splitlines()}
    names = ("efficientnet", "convnext", "vit")
    assert listed == {
        "split", "preprocess", "compare",
        *(f"{stage}@{name}" for stage in ("weights", "folds", "evaluate") for name in names),
        *(f"train_{name}" for name in names),
    }  # fmt: skip
    tracked = set(finished.run("git", "ls-files").out.splitlines())
    metrics = {f"metrics/{name}.json" for name in ("data", "comparison", "vit", "details/comparison", "details/vit")}
    assert {"dvc.lock", *metrics} <= tracked
    produced = {path for path in tracked if path.startswith(("models/", "data/processed/", "predictions/", "plots/"))}
    assert {path.rpartition("/")[2] for path in produced} == {".gitignore"}
