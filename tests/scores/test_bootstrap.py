"""Intervals: the same resamples as a plain loop would score, and a coverage that is what is stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from florafauna.base.errors import UserError
from florafauna.scores.bootstrap import (
    SCORES,
    Resampling,
    Truth,
    counted_classes,
    group_codes,
    group_counts,
    per_class_intervals,
    resample_weights,
    resampled_scores,
    score_intervals,
    scores_of,
    weighted_f1_of,
)


def by_sklearn(targets: np.ndarray, predictions: np.ndarray, among: np.ndarray | None = None) -> list[float]:
    """Means over classes are over those with five photos `among` these, or with most if none has five."""
    photos = np.bincount(targets if among is None else among)
    present = np.intersect1d(np.flatnonzero(photos >= min(5, photos.max())), targets)
    macro = balanced = 0.0
    if len(present):
        macro = f1_score(targets, predictions, labels=present, average="macro", zero_division=0)
        balanced = recall_score(targets, predictions, labels=present, average="macro", zero_division=0)
    weighted = f1_score(targets, predictions, average="weighted", zero_division=0)
    return [weighted, macro, accuracy_score(targets, predictions), balanced]


def draw(seed: int, photos: int, classes: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, photos)
    return targets, np.where(rng.random(photos) < right, targets, rng.integers(0, classes, photos))


@given(seed=st.integers(0, 10_000), photos=st.integers(1, 40), classes=st.integers(2, 6))
def test_scores_of_counts_are_those_of_scikit_learn(seed: int, photos: int, classes: int) -> None:
    targets, predictions = draw(seed, photos, classes, 0.6)
    counts = group_counts(Truth(targets, classes, np.zeros(photos)), predictions).toarray()
    counted = counted_classes(np.bincount(targets, minlength=classes))
    assert scores_of(counts, counted)[:, 0] == pytest.approx(by_sklearn(targets, predictions))
    assert weighted_f1_of(counts)[0] == scores_of(counts, counted)[0, 0]
    if set(predictions) <= set(targets) and len(set(targets)) > 1:
        everything = scores_of(counts, np.ones(classes, dtype=bool))[:, 0]
        assert everything[1] == pytest.approx(f1_score(targets, predictions, average="macro"))
        assert everything[3] == pytest.approx(balanced_accuracy_score(targets, predictions))


def test_a_class_that_the_photos_lack_counts_as_nothing_instead_of_as_0() -> None:
    targets = np.array([0] * 6 + [1] * 6 + [2] * 4)
    predictions = np.where(targets == 2, 3, targets)  # class 3 has no photos, class 2 has few and all are wrong
    point = score_intervals(Truth(targets, 5), predictions, Resampling(100, 0))
    assert point["macro_f1"].high == point["balanced_accuracy"].high == 1
    counts = np.array([[6.0, 0], [0, 0], [6, 6], [0, 0], [6, 6], [0, 0]])
    assert scores_of(counts[:, :1], np.array([True, True]))[[1, 3], 0].tolist() == [1, 1]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), grouped=st.booleans())
def test_all_resamples_at_once_score_like_a_loop_over_resampled_photos(seed: int, grouped: bool) -> None:
    targets, predictions = draw(seed, 30, 4, 0.7)
    groups = np.random.default_rng(seed).choice(np.array(["ash", "bee", "cod", "doe", "elk"]), 30) if grouped else None
    codes = group_codes(groups, 30)
    truth, how = Truth(targets, 4, groups), Resampling(20, seed)
    found = resampled_scores(truth, predictions, how)
    weights = np.concatenate(list(resample_weights(truth, how)))
    assert weights.shape == (20, codes.max() + 1)
    assert (weights.sum(axis=1) == weights.shape[1]).all()
    for resample, drawn in enumerate(weights):
        photos = np.repeat(np.arange(30), drawn[codes].astype(int))
        assert found[:, resample] == pytest.approx(by_sklearn(targets[photos], predictions[photos], targets))


def test_resamples_that_need_several_chunks_are_complete_and_differ() -> None:
    chunks = list(resample_weights(Truth(np.zeros(100_000), 1), Resampling(5, 3)))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert not np.array_equal(chunks[0][0], chunks[1][0])


def test_every_group_is_drawn_equally_often() -> None:
    truth = Truth(np.zeros(6), 1, np.array([5, 5, 5, 7, 9, 9]))
    weights = np.concatenate(list(resample_weights(truth, Resampling(20_000, 0))))
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.03)
    assert weights.var(axis=0) == pytest.approx(2 / 3, abs=0.03)  # of a multinomial: 3 · 1/3 · 2/3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    photos=st.integers(1, 60),
    classes=st.integers(2, 5),
    right=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    grouped=st.booleans(),
)
def test_intervals_hold_the_score_within_0_and_1(
    seed: int, photos: int, classes: int, right: float, grouped: bool
) -> None:
    targets, predictions = draw(seed, photos, classes, right)
    groups = np.arange(photos) // 3 if grouped else None
    intervals = score_intervals(Truth(targets, classes, groups), predictions, Resampling(100, seed))
    assert tuple(intervals) == SCORES
    for score, interval in zip(by_sklearn(targets, predictions), intervals.values(), strict=True):
        assert 0 <= interval.low <= score + 1e-12
        assert score - 1e-12 <= interval.high <= 1
        assert interval.low < interval.high
    f1s = f1_score(targets, predictions, labels=range(classes), average=None, zero_division=0)
    for target, each in enumerate(per_class_intervals(Truth(targets, classes, groups), predictions)):
        assert 0 <= each.f1.low <= f1s[target] + 1e-12
        assert f1s[target] - 1e-12 <= each.f1.high <= 1
        if (targets == target).any():
            recall = np.mean(predictions[targets == target] == target)
            assert each.recall.low - 1e-12 <= recall <= each.recall.high + 1e-12
        else:
            assert (each.recall.low, each.recall.high) == (0, 1)


def test_a_recall_without_groups_has_the_interval_of_wilson() -> None:
    targets, predictions = np.array([0] * 20 + [1] * 20), np.array([0] * 17 + [1] * 23)
    interval = per_class_intervals(Truth(targets, 2), predictions)[0].recall
    wilson = binomtest(17, 20).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((wilson.low, wilson.high), abs=0.01)


def test_all_right_is_not_certain_and_less_so_for_fewer_groups() -> None:
    targets = np.arange(60) % 3
    photos = score_intervals(Truth(targets, 3), targets, Resampling(200, 0))["weighted_f1"]
    groups = score_intervals(Truth(targets, 3, np.arange(60) // 6), targets, Resampling(200, 0))["weighted_f1"]
    assert photos.high == groups.high == 1
    assert 0.5 < groups.low < photos.low < 0.97


@pytest.mark.parametrize("groups", [1, 2, 20])
def test_groups_that_are_all_alike_do_not_make_certain(groups: int) -> None:
    """Their scores vary by rounding alone, as those of a site do whose photos are one group."""
    targets = np.tile([0, 0, 0, 1, 1, 1, 1], groups)
    predictions = np.tile([0, 0, 1, 1, 1, 1, 0], groups)
    for resamples in (100, 1000):
        found = score_intervals(Truth(targets, 2, np.arange(7 * groups) // 7), predictions, Resampling(resamples))
        assert all(each.high - each.low > 0.3 for each in found.values())


def test_photos_of_one_group_that_agree_widen_the_interval() -> None:
    targets, predictions = draw(1, 60, 3, 0.8)
    copies = [np.repeat(each, 5) for each in (targets, predictions, np.arange(60))]
    alone = score_intervals(Truth(copies[0], 3), copies[1], Resampling(1000, 0))["accuracy"]
    grouped = score_intervals(Truth(copies[0], 3, copies[2]), copies[1], Resampling(1000, 0))["accuracy"]
    once = score_intervals(Truth(targets, 3), predictions, Resampling(1000, 0))["accuracy"]
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.15)


def test_the_same_seed_gives_the_same_intervals_and_group_names_do_not_matter() -> None:
    targets, predictions = draw(2, 80, 4, 0.8)
    numbers = np.arange(80) // 4
    first = score_intervals(Truth(targets, 4, numbers), predictions, Resampling(300, 5))
    assert first == score_intervals(Truth(targets, 4, numbers), predictions, Resampling(300, 5))
    assert first == score_intervals(
        Truth(targets, 4, np.array([f"walk {n:02d}" for n in numbers])), predictions, Resampling(300, 5)
    )
    assert first != score_intervals(Truth(targets, 4, numbers), predictions, Resampling(300, 6))


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    targets, predictions = draw(3, 100, 4, 0.8)
    low, high = (
        score_intervals(Truth(targets, 4), predictions, Resampling(300, 0, c))["accuracy"] for c in (0.8, 0.99)
    )
    assert high.low < low.low < low.high < high.high


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_cover_the_truth_as_often_as_they_state(grouped: bool) -> None:
    """3,000 draws of photos from a world whose scores are known; 95 % should hold them."""
    rng = np.random.default_rng(11)
    share = np.array([0.4, 0.3, 0.2, 0.1])
    confusion = np.full((4, 4), 0.05) + np.diag([0.83, 0.8, 0.72, 0.8])
    confusion /= confusion.sum(axis=1, keepdims=True)
    world = share[:, None] * confusion
    of_world = np.concatenate([np.diag(world), world.sum(axis=1), world.sum(axis=0)])[:, None]
    truth = scores_of(of_world, np.ones(4, dtype=bool))[:, 0]
    steps, held, draws = confusion.cumsum(axis=1), np.zeros(4), 3000
    for _ in range(draws):
        sizes = 1 + rng.poisson(4, 60) if grouped else np.ones(200, dtype=int)
        groups = np.repeat(np.arange(len(sizes)), sizes)
        targets = rng.choice(4, len(sizes), p=share)[groups]
        # Most photos of a group share its luck, the others have their own.
        luck = np.where(rng.random(len(groups)) < 0.7, rng.random(len(sizes))[groups], rng.random(len(groups)))
        predictions = (luck[:, None] > steps[targets]).sum(axis=1).clip(0, 3)
        intervals = score_intervals(Truth(targets, 4, groups if grouped else None), predictions, Resampling(200, 0))
        held += [each.low <= score <= each.high for each, score in zip(intervals.values(), truth, strict=True)]
    coverage = dict(zip(SCORES, held / draws, strict=True))
    assert 0.93 <= coverage["accuracy"] <= 0.97
    assert 0.93 <= coverage["weighted_f1"] <= 0.97
    assert min(coverage.values()) >= 0.92


def test_means_over_classes_cover_the_truth_with_rare_classes() -> None:
    """Zipf's law, 20 classes: the truth is the mean over the classes of which there are enough photos."""
    rng = np.random.default_rng(12)
    share = 1 / np.arange(1, 21)
    share /= share.sum()
    recall = np.linspace(0.97, 0.8, 20)
    confusion = np.where(np.eye(20, dtype=bool), recall[:, None], (1 - recall[:, None]) / 19)
    world = share[:, None] * confusion
    f1, steps, held = 2 * np.diag(world) / (share + world.sum(axis=0)), confusion.cumsum(axis=1), np.zeros(2)
    for _ in range(600):
        targets = rng.choice(20, 150, p=share)
        predictions = (rng.random((150, 1)) > steps[targets]).sum(axis=1).clip(0, 19)
        counted = counted_classes(np.bincount(targets, minlength=20))
        assert 5 < counted.sum() < 15
        found = score_intervals(Truth(targets, 20), predictions, Resampling(100, 0))
        for at, (name, truth) in enumerate((("macro_f1", f1), ("balanced_accuracy", recall))):
            held[at] += found[name].low <= truth[counted].mean() <= found[name].high
    assert (held / 600).min() >= 0.92


def test_the_spread_over_seeds_is_within_the_interval() -> None:
    """A recipe whose outcomes vary by 3 points from seed to seed: 95 % hold what it gives on average."""
    rng = np.random.default_rng(13)
    held = {"alone": 0, "seeds": 0}
    for _ in range(300):
        targets = rng.integers(0, 4, 1000)
        wrong = (targets + rng.integers(1, 4, 1000)) % 4
        first, *others = [
            np.where(rng.random(1000) < luck, targets, wrong) for luck in rng.normal(0.85, 0.03, 4).clip(0, 1)
        ]
        for name, more in (("alone", []), ("seeds", others)):
            interval = score_intervals(Truth(targets, 4), first, Resampling(100, 0), more)["accuracy"]
            held[name] += interval.low <= 0.85 <= interval.high
    assert held["seeds"] / 300 >= 0.93
    assert held["alone"] / 300 < 0.75
    perfect = score_intervals(Truth(targets, 4), targets, Resampling(100, 0), [targets, wrong])["accuracy"]
    assert 0 <= perfect.low < perfect.high == 1


def test_intervals_of_classes_cover_the_truth() -> None:
    rng = np.random.default_rng(5)
    confusion = np.array([[0.9, 0.1, 0.0], [0.15, 0.8, 0.05], [0.05, 0.25, 0.7]])
    share = np.array([0.6, 0.3, 0.1])
    world = share[:, None] * confusion
    right, true, predicted = np.diag(world), share, world.sum(axis=0)
    truth = np.stack([right / predicted, right / true, 2 * right / (true + predicted)], axis=1)
    held = np.zeros((3, 3))
    for _ in range(500):
        targets = rng.choice(3, 150, p=share)
        predictions = (rng.random((150, 1)) > confusion.cumsum(axis=1)[targets]).sum(axis=1).clip(0, 2)
        found = per_class_intervals(Truth(targets, 3), predictions)
        bounds = [[(s.low, s.high) for s in (each.precision, each.recall, each.f1)] for each in found]
        held += [
            [low <= t <= high for (low, high), t in zip(*row, strict=True)] for row in zip(bounds, truth, strict=True)
        ]
    assert (held / 500).min() >= 0.92
    assert (held / 500).max() <= 0.985


def test_bad_input_is_named() -> None:
    photos = np.zeros(3, dtype=int)
    with pytest.raises(UserError, match="2 groups for 3 photos"):
        score_intervals(Truth(photos, 2, np.array([0, 1])), photos, Resampling(100, 0))
    with pytest.raises(UserError, match="2 predictions for 3 photos"):
        score_intervals(Truth(photos, 2), photos[:2], Resampling(100, 0))
    with pytest.raises(UserError, match="confidence must be between 0 and 1"):
        score_intervals(Truth(photos, 2), photos, Resampling(100, 0, 95))
    with pytest.raises(UserError, match="no photos to resample"):
        score_intervals(Truth(photos[:0], 2), photos[:0], Resampling(100, 0))
