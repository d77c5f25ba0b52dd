"""The rooms: dvc.yaml declares the folders that scripts import, and what is internal to a room stays there."""

import ast
from pathlib import Path

import pytest
import yaml
from helpers.closure import import_closure, imported_files

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "florafauna"
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SCREENING = {
    f"screen_{name}".removesuffix("_screen"): stage.get("do", stage)
    for name, stage in yaml.safe_load((REPOSITORY / "screen/dvc.yaml").read_text(encoding="utf-8"))["stages"].items()
}
GUARD = "stages/__init__.py"  # says which Python lacks packages; computes nothing


def script(stage: str) -> Path:
    return REPOSITORY / "stages" / f"{'train' if stage.startswith('train_') else stage}.py"


def deps(stage: str) -> list[str]:
    found: list[str] = (STAGES | SCREENING)[stage]["deps"]
    return found


def rooms(stage: str) -> set[str]:
    return {path for path in deps(stage) if path.startswith("florafauna/")}


def closure(stage: str) -> set[str]:
    return import_closure(script(stage), REPOSITORY) - {GUARD, "florafauna/__init__.py"}


@pytest.mark.parametrize("stage", STAGES | SCREENING)
def test_a_script_imports_what_lies_in_the_folders_that_its_stage_depends_on(stage: str) -> None:
    declared = rooms(stage) | {script(stage).relative_to(REPOSITORY).as_posix()}
    outside = {file for file in closure(stage) if not {file, "/".join(file.split("/")[:2])} & declared}
    assert not outside
    assert script(stage).relative_to(REPOSITORY).as_posix() in deps(stage)


@pytest.mark.parametrize("stage", STAGES | SCREENING)
def test_a_stage_depends_on_no_folder_that_its_script_does_not_use(stage: str) -> None:
    """A folder of the screening can be named by its files: what compares backbones must not make features stale."""
    used = {"/".join(file.split("/")[:2]) for file in closure(stage)} | closure(stage)
    assert rooms(stage) <= used
    assert 2 <= len({"/".join(path.split("/")[:2]) for path in rooms(stage)}) <= 8


def test_no_stage_of_the_screening_reads_the_test_photos() -> None:
    """Nor what was made of them; the folder data/processed would be one of both."""
    allowed = {"data/processed/train", "data/processed/val", "data/weights", "screen/features"}
    allowed |= {"screen/weights/${key}.safetensors"}
    for stage in SCREENING:
        assert {path for path in deps(stage) if not path.startswith(("florafauna/", "stages/"))} <= allowed


@pytest.mark.parametrize("stage", ["split", "compare"])
def test_split_and_compare_do_without_torch(stage: str) -> None:
    for module in closure(stage):
        text = (REPOSITORY / module).read_text(encoding="utf-8")
        assert "import torch" not in text, module
        assert "from torch" not in text, module


def test_the_package_itself_is_empty_so_that_no_stage_need_depend_on_it() -> None:
    assert (PACKAGE / "__init__.py").read_text(encoding="utf-8") == ""
    assert {file.name for file in PACKAGE.glob("*.py")} == {"__init__.py"}


def test_a_comparison_reads_at_most_five_items_of_each_model() -> None:
    for name in ("efficientnet", "convnext", "vit"):
        assert len([path for path in STAGES["compare"]["deps"] if name in path]) <= 5


def test_dvc_yaml_can_be_read_in_one_go() -> None:
    assert len((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 140


def room_of(file: str) -> str:
    return file.split("/")[1] if file.startswith("florafauna/") else ""


def test_a_leading_underscore_marks_what_is_internal_to_a_room_and_nothing_else() -> None:
    """As in scikit-learn: a module without one is what other rooms, scripts and users import."""
    scripts = [*(REPOSITORY / "stages").glob("*.py"), *(REPOSITORY / "tools").rglob("*.py")]
    used_outside: set[str] = set()
    for file in [*PACKAGE.rglob("*.py"), *scripts]:
        name = file.relative_to(REPOSITORY).as_posix()
        for target in imported_files(file, REPOSITORY):
            if room_of(target) != room_of(name):
                used_outside.add(target)
                assert not Path(target).stem.startswith("_") or target.endswith("__init__.py"), f"{name} uses {target}"
    started = {"florafauna/commands/cli.py", "florafauna/commands/summary.py"}  # from pyproject.toml and the Makefile
    public = {
        file.relative_to(REPOSITORY).as_posix() for file in PACKAGE.rglob("*.py") if not file.stem.startswith("_")
    }
    assert public - used_outside - started == set()


def test_no_room_imports_a_private_name_of_another() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("florafauna."):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                same = str(node.module).split(".")[1] == room_of(file.relative_to(REPOSITORY).as_posix())
                assert same or not private, file
