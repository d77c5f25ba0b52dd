"""What is changed, what reruns: a comment in each room of florafauna/, and real `dvc status`."""

import json

import pytest
from helpers.project import REPOSITORY, Project

MODELS = ("efficientnet", "convnext", "vit")
WEIGHTS = {f"weights@{name}" for name in MODELS}
TRAIN = {f"train_{name}" for name in MODELS}
FOLDS = {f"folds@{name}" for name in MODELS}
EVALUATE = {f"evaluate@{name}" for name in MODELS}
ALL = {"split", "preprocess", *WEIGHTS, *TRAIN, *FOLDS, *EVALUATE, "compare"}

RERUNS = {
    "base": ALL,
    "photos": {"split", "preprocess", *FOLDS},
    "labels": {"split"},
    "audit": {"split"},
    "split": {"split"},
    "pixels": {"preprocess", *TRAIN, *FOLDS, *EVALUATE, "compare"},
    "preprocess": {"preprocess"},
    "model": {*WEIGHTS, *TRAIN, *FOLDS, *EVALUATE},
    "bundle": {*TRAIN, *FOLDS, *EVALUATE},
    "training": {*TRAIN, *FOLDS},
    "folds": {"split", *FOLDS, *EVALUATE, "compare"},
    "crossval": FOLDS,
    "scores": {*EVALUATE, "compare"},
    "evaluate": EVALUATE,
    "compare": {"compare"},
}
NOTHING = ("predict", "serve", "ci", "commands", "screen")  # the last has a pipeline of its own


def stale(project: Project) -> set[str]:
    """The stages whose own code, params or data changed; what follows from them shows when they have run."""
    return set(json.loads(project.run("dvc", "status", "--json").out))


def comment_in(project: Project, room: str) -> None:
    module = max((project.root / "florafauna" / room).glob("*.py"), key=lambda file: file.stat().st_size)
    project.append(module.relative_to(project.root).as_posix(), "# a comment\n")


def test_every_room_is_here() -> None:
    folders = {path.name for path in (REPOSITORY / "florafauna").iterdir() if any(path.glob("*.py"))}
    assert folders == {*RERUNS, *NOTHING}


@pytest.mark.parametrize("room", RERUNS)
def test_a_comment_makes_the_stages_stale_that_depend_on_its_room(project: Project, room: str) -> None:
    comment_in(project, room)
    assert stale(project) == RERUNS[room]


def test_what_comes_after_the_pipeline_and_the_version_number_make_nothing_stale(project: Project) -> None:
    for room in NOTHING:
        comment_in(project, room)
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "', 'version = "9.'))
    project.change_params(ci__max_drop=0.5)
    assert stale(project) == set()


def test_how_boxes_are_cut_concerns_split_and_preprocess_alone(project: Project) -> None:
    project.change_params(boxes__padding=0.2)
    assert stale(project) == {"split", "preprocess"}
