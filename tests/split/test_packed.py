"""docs/scale.md: photos that its command packs into archives are split like the folder that they come from."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import REPOSITORY

from florafauna.photos.settings import DataParams
from florafauna.split.dataset import prepare
from florafauna.split.settings import SplitParams

TEXT = (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")
(COMMAND,) = re.findall(r"^bash docs/pack\.sh photos .*$", TEXT, re.MULTILINE)
SPECIES, EACH = ("creek_maple", "ladder_fern", "violet_aster"), 8


def gnu(program: str) -> bool:
    """Whether a program is there, and GNU's."""
    return shutil.which(program) is not None and b"GNU" in subprocess.check_output([program, "--version"])


pytestmark = pytest.mark.skipif(
    os.name == "nt" or not (gnu("tar") and gnu("split")), reason="GNU tar and coreutils are not here"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of the embedded sample, one folder a species, in a working tree with the script."""
    for path in (f"{name}/{number:03d}.jpg" for name in SPECIES for number in range(EACH)):
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "data/sample" / path, tmp_path / "photos" / path)
    (tmp_path / "corrections.csv").write_text("path,label\n")
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png", "*.md"))
    return tmp_path


def pack(folder: Path, photos: int) -> dict[str, bytes]:
    """The archives that the page's command makes, with so many photos each."""
    subprocess.run([*shlex.split(COMMAND)[:-1], str(photos)], cwd=folder, check=True)
    return {file.name: file.read_bytes() for file in (folder / "data/raw").iterdir()}


def split(folder: Path, root: str, labels: str) -> pd.DataFrame:
    """The manifest, without the archives' names in the paths."""
    data = DataParams(root=str(folder / root), labels=str(folder / labels))
    manifest = prepare(data, SplitParams(), folder / "corrections.csv", workers=1).manifest
    return manifest.assign(path=manifest["path"].str.replace(r"^part-\d+\.tar/", "", regex=True))


def test_archives_are_split_like_the_folder(folder: Path) -> None:
    assert sorted(pack(folder, 13)) == ["part-00000.tar", "part-00001.tar"]
    of_folder = split(folder, "photos", "photos")
    assert len(of_folder) == len(SPECIES) * EACH
    assert split(folder, "data/raw", "data/raw").equals(of_folder)
    table = pd.read_csv(REPOSITORY / "data/sample/labels.csv")
    table[table["path"].isin(of_folder["path"])].to_csv(folder / "labels.csv", index=False)
    assert split(folder, "data/raw", "labels.csv").equals(split(folder, "photos", "labels.csv"))


def test_the_same_photos_give_the_same_bytes(folder: Path) -> None:
    before = pack(folder, 13)
    for file in sorted((folder / "photos").rglob("*.jpg"), reverse=True):  # others, in another order, who own them
        copy = file.with_suffix(".new")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
        file.chmod(0o600)
    assert pack(folder, 13) == before
    (folder / "photos/violet_aster/000.jpg").write_bytes(b"another")
    after = pack(folder, 13)
    assert [name for name in before if after[name] != before[name]] == ["part-00001.tar"]
