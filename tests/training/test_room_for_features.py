"""Remembered features take a bounded room: the least recently used ones go, whole, unless they cannot."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from florafauna.training.frozen import features

PHOTOS = 5
PADDING = 10_000  # bytes, beside which the features do not count


def remembered(folder: Path, value: float) -> features.Features:
    return features.remember(folder, PHOTOS, [torch.zeros(1, 3)], lambda rows: [[torch.full((PHOTOS, 3), value)]])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Room for one and a half, and two in it, of which the second was used last."""
    monkeypatch.setattr(features, "LIMIT_BYTES", PADDING * 3 // 2)
    for number, name in enumerate(("first", "second")):
        remembered(tmp_path / name, float(number))
        (tmp_path / name / "padding").write_bytes(bytes(PADDING))
        os.utime(tmp_path / name / "complete.json", (number, number))
    return tmp_path


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_the_least_recently_used_features_make_room(cache: Path) -> None:
    assert remembered(cache / "third", 3.0).rows(slice(None))[0].tolist() == [[3.0] * 3] * PHOTOS
    assert names(cache) == ["second", "third"]


def test_features_that_are_in_use_stay_whole_where_the_system_keeps_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows neither renames nor removes a folder with files that are open."""
    rename = Path.rename

    def refuse(self: Path, target: Any) -> Path:
        if self.name == "first":
            raise PermissionError(13, "Access is denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    remembered(cache / "third", 3.0)
    assert names(cache) == ["first", "third"], "the next one goes in its place"
    assert remembered(cache / "first", 9.0).rows(slice(None))[0].tolist() == [[0.0] * 3] * PHOTOS, "not computed again"
