"""Whole photos and crops of them are compared photo by photo."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from florafauna.base.errors import UserError
from florafauna.commands.cli import main
from florafauna.compare.by_photo import compare_by_photo
from florafauna.scores.predictions import LOGITS, PHOTO, Predictions, write_predictions

LABELS = ["fox", "owl"]
COUNT = 60  # photos, half of them of validation


def write(folder: Path, right: float, boxes: int, photos: int = COUNT) -> Path:
    """Predictions of which a share of boxes, drawn anew for each photo, is right; 0 boxes: of whole photos."""
    rng = np.random.default_rng(boxes)
    rows = []
    for photo in range(photos):
        target = photo % 2
        place = {"split": "test" if photo < photos // 2 else "val", "held_out": "", "group": f"g{photo // 3}"}
        for box in range(max(boxes, 1)):
            name = f"{photo:03d}.jpg" + (f"#xywh={box},2,30,40" if boxes else "")
            rows.append({"path": name, **place, "cluster": "", "label": LABELS[target], "target": target})
    table = pd.DataFrame(rows)[PHOTO].sort_values(["split", "path"], ignore_index=True)
    sign = np.where(rng.random(len(table)) < right, 1.0, -1.0) * rng.uniform(1, 3, len(table))
    logits = np.zeros((len(table), 2), dtype=np.float32)
    logits[np.arange(len(table)), table["target"]] = sign
    write_predictions(folder / LOGITS, Predictions("m", LABELS, table, logits))
    return folder


def test_the_verdict_is_on_photos_and_names_the_better_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, crops = write(tmp_path / "whole", 0.6, 0), write(tmp_path / "crops", 0.95, 3)
    assert main(["compare", str(whole), str(crops)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{crops} is better than {whole} by ")
    assert told.endswith("on 30 photos\n")
    assert compare_by_photo(crops, whole) == told.strip()


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", 0.6, 0)
    with pytest.raises(UserError, match="are the same predictions"):
        compare_by_photo(whole, whole)
    with pytest.raises(UserError, match=r"logits.parquet is missing; run"):
        compare_by_photo(whole, whole / LOGITS)
    others = write(tmp_path / "others", 0.9, 0)
    table = pd.read_parquet(others / LOGITS)
    renamed = Predictions("m", LABELS, table[PHOTO].assign(path="x" + table["path"]), np.stack(table["logits"]))
    write_predictions(others / LOGITS, renamed)
    with pytest.raises(UserError, match="no test photo with the same label in common"):
        compare_by_photo(whole, others)
