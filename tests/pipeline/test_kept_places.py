"""data/places.csv under real git and real dvc: what it holds is kept, whatever is added, cloned or tried out."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import Project, new_project
from PIL import Image

PLACES = "data/places.csv"
RESULTS = (PLACES, "data/manifest.csv", "metrics/data.json")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose split has run, committed. Not to be changed."""
    project = new_project(tmp_path_factory.mktemp("split") / "repository")
    project.repro("split")
    project.commit("split")
    return project


@pytest.fixture
def split(committed: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    return committed.copy_to(tmp_path / "repository")


def results(project: Project) -> list[bytes]:
    return [(project.root / name).read_bytes() for name in RESULTS]


def split_of(project: Project) -> pd.Series:
    manifest = pd.read_csv(project.root / "data/manifest.csv", keep_default_na=False)
    return manifest.set_index("path")["split"]


def add_photos(project: Project, angle: int, count: int = 6) -> None:
    """New photos of a known class, and another photo for a group that has a place."""
    labels = pd.read_csv(project.root / "photos/labels.csv", keep_default_na=False)
    grouped = labels[labels["group"] != ""].iloc[0]
    rows = [(f"{grouped['species']}/new_{angle}.jpg", grouped["species"], grouped["group"], grouped["path"])]
    lone = labels[labels["group"] == ""].head(count)
    rows += [
        (f"{path.removesuffix('.jpg')}_{angle}.jpg", label, "", path)
        for path, label in zip(lone["path"], lone["species"], strict=True)
    ]
    for path, *_, original in rows:
        with Image.open(project.root / "photos" / original) as image:
            image.convert("RGB").rotate(angle).resize((130, 90)).save(project.root / "photos" / path, quality=80)
    project.append("photos/labels.csv", "".join(f"{path},{label},{group}\n" for path, label, group, _ in rows))


def test_photos_that_are_added_move_nobody_and_a_clone_places_them_alike(split: Project, tmp_path: Path) -> None:
    assert split.repro("split").stages == set()
    before, places = split_of(split), (split.root / PLACES).read_text().splitlines()
    for angle in (35, 70):
        add_photos(split, angle)
        assert split.repro("split").stages == {"split"}
    after = split_of(split)
    assert len(after) == len(before) + 14
    assert list(after[before.index]) == list(before)
    assert set(places) < set((split.root / PLACES).read_text().splitlines())
    assert split.repro("split").stages == set()
    split.commit("more photos")
    subprocess.run(["git", "clone", "-q", str(split.root), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    assert clone.repro("split").stages == {"split"}
    assert results(clone) == results(split)
    assert clone.run("git", "status", "--porcelain").out == ""


def test_the_same_data_without_the_file_give_the_same_file(split: Project) -> None:
    before = results(split)
    (split.root / PLACES).unlink()
    assert split.repro("split").stages == {"split"}
    assert results(split) == before


def test_a_line_that_a_person_changes_is_honoured(split: Project) -> None:
    manifest = pd.read_csv(split.root / "data/manifest.csv", keep_default_na=False)
    photo = manifest[(manifest["group"] == "") & (manifest["split"] == "train")].iloc[0]
    text = (split.root / PLACES).read_text()
    line = f"{photo['sha256'][:16]},train\n"
    assert line in text
    (split.root / PLACES).write_text(text.replace(line, line.replace("train", "test")))
    assert split.repro("split").stages == {"split"}
    after = split_of(split)
    assert after[photo["path"]] == "test"
    assert list(after.drop(photo["path"])) == list(manifest.set_index("path")["split"].drop(photo["path"]))
    assert split.repro("split").stages == set()


def test_an_experiment_elsewhere_draws_its_own_places_where_the_seed_changes_alone(split: Project) -> None:
    before = results(split)
    for name, setting in (("redrawn", "split.seed=7"), ("kept", "data.max_unreadable=0.3")):
        split.run("dvc", "exp", "run", "--temp", "-q", "--name", name, "-S", setting, "split")
    assert results(split) == before
    assert split.run("git", "status", "--porcelain").out == ""
    refs = split.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").out.splitlines()
    there = {
        name: split.run("git", "show", f"{ref}:{PLACES}").out.encode()
        for name in ("redrawn", "kept")
        for ref in refs
        if ref.endswith(f"/{name}")
    }
    assert there["kept"] == before[0]
    assert b'"seed": 7' in there["redrawn"]
    assert there["redrawn"].splitlines()[2:] != before[0].splitlines()[2:]
