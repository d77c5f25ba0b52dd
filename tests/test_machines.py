"""The pipeline on machines other than this one, as far as one machine can show it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from helpers.project import PHOTOS, REPOSITORY, SPECIES, write_photos

NEW_NAME = "źółw → 龟"  # no code page of Windows has all of it


def test_photos_to_predictions_without_what_windows_lacks(tmp_path: Path) -> None:
    """Missing modules and functions, spawned workers, a narrow console; helpers/windows.py says what else."""
    write_photos(tmp_path)
    labels = tmp_path / "photos/labels.csv"
    table = pd.read_csv(labels, keep_default_na=False).replace({"species": {SPECIES[0]: NEW_NAME}})
    table.to_csv(labels, index=False, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/corrections.csv").write_text("path,label\n", encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONIOENCODING": "cp1252",
        "PYTHONWARNDEFAULTENCODING": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(REPOSITORY / "tests/helpers/windows.py"), "vit"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="cp1252", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "?ó?w ? ?" in done.stdout

    texts = [tmp_path / path for path in ("data/manifest.csv", "data/quarantine.csv", "models/vit/history.csv", "found.csv")]
    assert not [file for file in texts if b"\r" in file.read_bytes()]
    manifest = pd.read_csv(texts[0], keep_default_na=False)
    assert set(manifest["label"]) == {NEW_NAME, *SPECIES[1:]}
    assert not manifest["path"].str.contains("\\", regex=False).any()
    with texts[-1].open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(SPECIES) * PHOTOS
    assert not [row["error"] for row in found if row["error"]]
    assert json.loads((tmp_path / "metrics/comparison.json").read_text(encoding="utf-8"))["best"] == "vit"
    scored_again = {"metrics/vit.json", "metrics/details/vit.json", "metrics/comparison.json", "models/vit/bundle.json"}
    assert scored_again < set(done.stdout.splitlines())
