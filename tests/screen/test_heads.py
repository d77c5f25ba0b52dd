"""Heads on made-up features: groups stay whole, predictions are those of scikit-learn, a learning curve says why."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from florafauna.scores.bootstrap import Resampling
from florafauna.screen._heads import HEADS, Fold, Head, Photos, cross_validated, nearest_mean, rounds, solved_among
from florafauna.screen._learning import SHARES, LearningCurve, gains, learning_curve

CPU = torch.device("cpu")
QUICK = Resampling(resamples=300)


def clouds(photos: int, classes: int = 3, noise: float = 1.5, width: int = 8) -> tuple[torch.Tensor, Photos]:
    """Overlapping clouds, off the origin, each photo a group of its own."""
    rng = np.random.default_rng(0)
    targets = np.arange(photos) % classes
    features = 7 + 3 * (rng.normal(size=(classes, width))[targets] + noise * rng.normal(size=(photos, width)))
    labels = [f"class {number}" for number in range(classes)]
    return torch.tensor(features, dtype=torch.float32), Photos(targets, names(np.arange(photos)), labels)


def names(groups: np.ndarray) -> list[str]:
    return [f"group {number}" for number in groups]


def test_each_photo_is_scored_once_by_a_head_without_its_group() -> None:
    targets = np.arange(90) % 3
    folds = rounds(Photos(targets, names(np.arange(90) // 2), list("abc")), 5, seed=0)
    assert sorted(np.concatenate([fold.score for fold in folds])) == list(range(90))
    for fold in folds:
        parts = [{row // 2 for row in rows} for rows in (fold.fit, fold.choose, fold.score)]
        assert len(set.union(*parts)) == 45 == sum(map(len, parts))


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_copies_of_a_photo_do_not_give_its_label_away(head: Head) -> None:
    """Pairs of equal features with a label drawn for the pair: a head that saw the other of a pair is always right."""
    rng = np.random.default_rng(3)
    features = torch.tensor(np.repeat(rng.normal(size=(60, 80)), 2, axis=0), dtype=torch.float32)
    targets, pairs = np.repeat(rng.integers(3, size=60), 2), np.repeat(np.arange(60), 2)

    def right(groups: np.ndarray) -> float:
        photos = Photos(targets, names(groups), list("abc"))
        return float((cross_validated(head, features, photos, rounds(photos, 5, 0), CPU) == targets).mean())

    assert right(pairs) < 0.5
    assert right(np.arange(120)) > 0.6


def test_the_solved_head_is_that_of_scikit_learn() -> None:
    features, photos = clouds(150)
    (fold, *_) = rounds(photos, 5, 0)
    predicted, l2 = solved_among([1e-2], features, photos, fold, CPU)
    x, y = features.numpy()[fold.fit].astype(np.float64), photos.targets[fold.fit]
    scale = np.sqrt(((x - x.mean(0)) ** 2).mean())
    peer = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=5000).fit((x - x.mean(0)) / scale, y)
    expected = peer.predict((features.numpy()[fold.score] - x.mean(0)) / scale)
    assert (predicted == expected).mean() >= 1 - 1 / len(expected)


def test_the_nearest_class_mean_is_that_of_scikit_learn() -> None:
    features, photos = clouds(150)
    (fold, *_) = rounds(photos, 5, 0)
    x = features.numpy()
    centred = normalize(x - x[fold.fit].mean(0))
    peer = NearestCentroid().fit(centred[fold.fit], photos.targets[fold.fit])
    assert np.array_equal(nearest_mean(features, photos, fold, CPU), peer.predict(centred[fold.score]))


def test_a_class_without_photos_to_learn_from_is_no_answer() -> None:
    features, photos = clouds(30)
    fold = Fold(np.flatnonzero(photos.targets[:20] != 1), np.arange(20, 25), np.arange(30))
    for head in HEADS.values():
        assert set(head(features, photos, fold, CPU)) <= {0, 2}


def test_the_curve_ends_with_the_cross_validation_and_grows_by_whole_groups() -> None:
    features, photos = clouds(96, noise=2)
    curve = learning_curve(features, photos, folds=4, draws=2, seed=5, device=CPU)
    assert curve.predicted.shape == (2, len(SHARES), 96)
    assert curve.fitted == pytest.approx([48 * share for share in SHARES], abs=2)
    expected = cross_validated(HEADS["solved head"], features, photos, rounds(photos, 4, 5), CPU)
    assert np.array_equal(curve.predicted[0, -1], expected)
    scores = curve.scores(photos.truth)["accuracy"]
    assert scores[0, -1] == pytest.approx((expected == photos.targets).mean())


def test_few_groups_are_parts_of_their_own() -> None:
    features, photos = clouds(18)
    photos = Photos(photos.targets, names(np.arange(18) // 3), photos.labels)
    curve = learning_curve(features, photos, folds=3, draws=2, seed=0, device=CPU)
    assert curve.fitted.tolist() == [3, 3, 3, 6]


def test_the_class_that_more_photos_help_is_named_and_no_other() -> None:
    """Two classes of four are told apart by a faint direction among many; the others are learnt at once."""
    rng = np.random.default_rng(0)
    targets = np.arange(640) % 4
    features = rng.normal(size=(640, 96))
    features[:, :4] += 12 * np.eye(4)[targets]
    hard = targets < 2
    features[hard, :2] = rng.normal(size=(hard.sum(), 2)) + 6
    features[hard, 8] += np.where(targets[hard] == 0, 1.2, -1.2)
    photos = Photos(targets, names(np.arange(640)), ["hard a", "hard b", "easy c", "easy d"])
    curve = learning_curve(torch.tensor(features, dtype=torch.float32), photos, folds=4, draws=2, seed=0, device=CPU)
    found = gains(curve, photos, QUICK, "oak")
    assert found.sentence.startswith("More photos would help, most clearly those of hard ")
    assert "easy" not in found.sentence
    assert found.weighted_f1.low > 0
    assert min(gain.p for gain in found.classes[:2]) < 0.05 < min(gain.p for gain in found.classes[2:])
    assert found.f1[2:].min() > 0.95


def test_noise_is_called_noise() -> None:
    rng = np.random.default_rng(1)
    photos = Photos(rng.integers(3, size=120), names(np.arange(120)), list("abc"))
    features = torch.tensor(rng.normal(size=(120, 8)), dtype=torch.float32)
    found = gains(learning_curve(features, photos, 4, 2, 0, CPU), photos, QUICK, "oak")
    assert found.sentence.startswith("Whether more photos would help is within noise: ")
    assert "of the classes" not in found.sentence
    assert found.weighted_f1.low < found.weighted_f1.value < found.weighted_f1.high


def test_where_no_answer_changed_no_gain_is_ruled_out() -> None:
    photos = Photos(np.repeat([0, 1], [20, 4]), names(np.arange(24)), ["common", "rare"])
    curve = LearningCurve(np.tile(np.zeros(24, dtype=np.int64), (2, 4, 1)), np.array([3.0, 6.0, 12.0, 24.0]))
    of_class = gains(curve, photos, QUICK, "oak").classes
    assert [gain.value for gain in of_class] == [0, 0]
    assert [-gain.low for gain in of_class] == pytest.approx([1.96 / 20, 1.96 / 4], rel=0.01)


def test_the_interval_of_a_gain_covers_it_with_few_groups() -> None:
    """Six walks, on each of which either share of the photos has its own luck, the same in both draws."""
    rng, walk, covered = np.random.default_rng(2), np.repeat(np.arange(6), 12), 0
    photos = Photos(np.arange(72) % 2, names(walk), ["a", "b"])
    for _ in range(200):
        right = rng.random((4, 72)) < rng.normal(0.7, 0.15, (4, 6))[:, walk]
        predicted = np.tile(np.where(right, photos.targets, 1 - photos.targets), (2, 1, 1))
        gain = gains(LearningCurve(predicted, np.arange(4.0)), photos, Resampling(100), "oak").weighted_f1
        covered += gain.low <= 0 <= gain.high
    assert covered >= 200 * 0.92
