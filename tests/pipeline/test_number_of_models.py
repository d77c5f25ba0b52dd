"""Two models, or four: docs/dvc.md says what to edit, and `dvc repro` runs no more than that asks for."""

import json
import re

from helpers.project import Project

LIST = "[efficientnet, convnext, vit]"


def edit(project: Project, name: str, *replacements: tuple[str, str]) -> None:
    text = (project.root / name).read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    (project.root / name).write_text(text, encoding="utf-8")


def stage_of(project: Project, model: str) -> str:
    """The lines of `train_MODEL` in dvc.yaml, and the empty one after it."""
    text = (project.root / "dvc.yaml").read_text(encoding="utf-8")
    found = re.search(rf"  train_{model}:\n(?:    .*\n)+\n", text)
    assert found is not None
    return found[0]


def compared(model: str) -> str:
    """The line of a model under `compare`."""
    return f"       models/{model}, predictions/{model}, metrics/details/{model}.json, metrics/timing/{model}.json"


def best(project: Project) -> set[str]:
    return set(json.loads((project.root / "metrics/details/comparison.json").read_text())["models"])


def test_a_fourth_model_trains_that_one_alone(project: Project) -> None:
    own = stage_of(project, "vit")
    edit(
        project,
        "dvc.yaml",
        (LIST, "[efficientnet, convnext, vit, second_vit]"),
        (own, own + own.replace("vit", "second_vit")),
        ("efficientnet convnext vit", "efficientnet convnext vit second_vit"),
        (compared("vit"), f"{compared('vit')},\n{compared('second_vit')}"),
        ("predictions/folds/vit,", "predictions/folds/vit, predictions/folds/second_vit,"),
    )
    project.change_params(models__second_vit=project.params()["models"]["vit"] | {"seed": 1})
    assert project.repro().stages == {
        "weights@second_vit", "train_second_vit", "folds@second_vit", "evaluate@second_vit", "compare",
    }  # fmt: skip
    assert best(project) == {"efficientnet", "convnext", "vit", "second_vit", "ensemble"}


def test_one_model_less_only_compares_again(project: Project) -> None:
    edit(
        project,
        "dvc.yaml",
        (LIST, "[efficientnet, vit]"),
        (stage_of(project, "convnext"), ""),
        ("efficientnet convnext vit", "efficientnet vit"),
        (f"{compared('convnext')},\n", ""),
        ("predictions/folds/convnext, ", ""),
    )
    params = project.params()
    del params["models"]["convnext"]
    project.change_params(models=params["models"])
    assert project.repro().stages == {"compare"}
    assert best(project) == {"efficientnet", "vit", "ensemble"}
