"""Remembered features: damage on disk is found and made good, and a disk without room costs no training."""

from pathlib import Path

import pytest
import torch
from helpers.tiny import TRAIN, VAL, Place, params
from torch import nn

from florafauna.training._feeds import FeatureFeed, Feed, PixelFeed, choose_feed
from florafauna.training.frozen import features as remembered
from florafauna.training.frozen._probe import classifier_features, solve_head

HEAD = params(trainable="head", views=2)


def fed(place: Place, cache: Path) -> tuple[Feed, nn.Module, str]:
    model, _ = place.built(HEAD)
    feed, remark = choose_feed(place.photos(model, HEAD), model, "weights", cache)
    return feed, model, remark


def shown(feed: Feed) -> list[torch.Tensor]:
    return [batch.inputs[0] for view in range(2) for batch in feed.fixed(view)]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize(("damage", "name"), [(flip, "0.bin"), (cut, "0.bin"), (cut, "complete.json")])
def test_damaged_features_are_said_once_and_computed_again(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, name: str
) -> None:
    whole = shown(fed(place, tmp_path)[0])
    capsys.readouterr()
    assert callable(damage)
    damage(sorted(tmp_path.glob(f"*/{name}"))[0])
    assert all(map(torch.equal, shown(fed(place, tmp_path)[0]), whole))
    (said,) = capsys.readouterr().err.splitlines()
    assert "was damaged on disk and is computed again" in said
    assert all(map(torch.equal, shown(fed(place, tmp_path)[0]), whole))
    assert capsys.readouterr().err == ""


def test_a_file_that_does_not_belong_there_is_passed_over(place: Place, tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"\0Bud1")
    fed(place, tmp_path)
    for folder in tmp_path.glob("*/"):
        (folder / ".DS_Store").mkdir()
    assert isinstance(fed(place, tmp_path)[0], FeatureFeed)


def test_where_the_views_do_not_fit_the_disk_none_is_computed_and_the_log_says_so(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, _, _ = fed(place, tmp_path / "first")
    assert isinstance(feed, FeatureFeed)
    bytes_of_all = (2 * TRAIN + VAL) * sum(value.row_bytes for value in feed.val.values)
    monkeypatch.setattr(remembered, "LIMIT_BYTES", bytes_of_all - 1)
    feed, _, remark = fed(place, tmp_path / "second")
    assert isinstance(feed, PixelFeed)
    assert "the frozen prefix is run in every epoch: " in remark
    assert " MB free in " in remark
    assert not list((tmp_path / "second").iterdir()), "one view alone would be of no use"


@pytest.mark.parametrize("obstacle", ["no room", "no folder"])
def test_a_head_is_solved_for_where_nothing_can_be_remembered(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], obstacle: str
) -> None:
    feed, model, _ = fed(place, tmp_path / "features")
    expected = solve_head(feed, model, "weights", tmp_path / "features")
    cache = tmp_path / "other"
    if obstacle == "no room":
        monkeypatch.setattr(remembered, "LIMIT_BYTES", 1)
    else:
        cache.write_bytes(b"a file where the folder should be")
    feed, model, _ = fed(place, cache)
    assert isinstance(feed, PixelFeed)
    capsys.readouterr()
    optimum = solve_head(feed, model, "weights", cache)
    assert capsys.readouterr().out.count("stay in memory") == 1
    assert optimum.loss == pytest.approx(expected.loss, rel=1e-3)  # a remembered prefix is folded for the CPU
    train, _ = classifier_features(feed, model, "weights", cache)
    assert [len(features.rows(slice(None))[0]) for features in train] == [TRAIN, TRAIN]
