"""The pipeline on machines other than this one, as far as one machine can show it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from helpers.project import PHOTOS, REPOSITORY, SPECIES, small_params, write_photos

from florafauna.ci._rescore import score_again
from florafauna.scores.settings import EvaluateParams

NEW_NAME = "źółw → 龟"  # no code page of Windows has all of it
TEXTS = ("data/manifest.csv", "data/quarantine.csv", "data/places.csv", "models/vit/history.csv", "found.csv")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after everything ran without what Windows lacks; helpers/windows.py says what that is.

    Workers are spawned, those of the training, too, and the console has code page 1252.
    """
    root = tmp_path_factory.mktemp("windows")
    write_photos(root)
    labels = root / "photos/labels.csv"
    table = pd.read_csv(labels, keep_default_na=False).replace({"species": {SPECIES[0]: NEW_NAME}})
    table.to_csv(labels, index=False, encoding="utf-8")
    params = small_params()
    params["models"]["vit"]["workers"] = 1
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (root / "data").mkdir()
    (root / "data/corrections.csv").write_text("path,label\n", encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONIOENCODING": "cp1252",
        "PYTHONWARNDEFAULTENCODING": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(REPOSITORY / "tests/helpers/windows.py"), "vit"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, encoding="cp1252", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (root / "printed.txt").write_text(done.stdout, encoding="utf-8")
    return root


def test_photos_to_predictions_without_what_windows_lacks(root: Path) -> None:
    with (root / "found.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(SPECIES) * PHOTOS
    assert not [row["error"] for row in found if row["error"]]
    assert json.loads((root / "metrics/comparison.json").read_text(encoding="utf-8"))["best"] == "vit"


def test_what_is_written_is_the_same_on_every_machine(root: Path) -> None:
    assert not [name for name in TEXTS if b"\r" in (root / name).read_bytes()]
    manifest = pd.read_csv(root / "data/manifest.csv", keep_default_na=False)
    assert set(manifest["label"]) == {NEW_NAME, *SPECIES[1:]}
    assert not manifest["path"].str.contains("\\", regex=False).any()


def test_a_console_that_lacks_characters_shows_the_others(root: Path) -> None:
    assert "?ó?w ? ?" in (root / "printed.txt").read_text(encoding="utf-8")


def test_scoring_again_without_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = EvaluateParams(**yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["evaluate"])
    with_links = score_again(root, ["vit"], params)
    bundle = "models/vit/bundle.json"
    assert {"metrics/vit.json", "metrics/details/vit.json", "metrics/comparison.json", bundle} < with_links.keys()
    for path in with_links.keys() - {bundle}:
        assert with_links[path] == json.loads((root / path).read_text(encoding="utf-8"))

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    assert score_again(root, ["vit"], params) == with_links
