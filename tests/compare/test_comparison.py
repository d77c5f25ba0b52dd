"""Comparing models: no winner among equals, the better one found, and sentences that say so."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from florafauna.base.errors import UserError
from florafauna.base.metrics import weighted_f1
from florafauna.compare._paired import ModelPair, compare_all, exact_p, holm
from florafauna.scores.bootstrap import Resampling, Truth, resample_weights

CLASSES = 4


def guess(rng: np.random.Generator, targets: np.ndarray, right: float) -> np.ndarray:
    wrong = (targets + rng.integers(1, CLASSES, len(targets))) % CLASSES
    return np.where(rng.random(len(targets)) < right, targets, wrong)


def only(
    models: dict[str, np.ndarray], truth: Truth, how: Resampling, seed_variance: dict[str, float] | None = None
) -> ModelPair:
    (pair,) = compare_all(models, truth, how, seed_variance).pairs
    return pair


@pytest.mark.parametrize("grouped", [False, True])
def test_a_winner_among_equal_models_is_named_in_at_most_5_percent(grouped: bool) -> None:
    """Two and three models of the same true accuracy; the errors within a group are alike."""
    rng = np.random.default_rng(21)
    named = {2: 0, 3: 0}
    for _ in range(400):
        groups = np.repeat(np.arange(50), 1 + rng.poisson(3, 50)) if grouped else np.arange(150)
        targets = rng.integers(0, CLASSES, groups.max() + 1)[groups]
        models = {}
        for name in ("convnext", "vit", "resnet"):
            chosen = guess(rng, targets, 0.8)
            luck = rng.random(groups.max() + 1) < 0.8
            of_group = np.where(luck[groups], targets, (targets + 1) % CLASSES)
            models[name] = np.where(rng.random(len(groups)) < 0.6, of_group, chosen) if grouped else chosen
        for count in named:
            some = dict(list(models.items())[:count])
            found = compare_all(some, Truth(targets, CLASSES, groups if grouped else None), Resampling(resamples=200))
            named[count] += any(pair.distinguishable for pair in found.pairs)
    assert named[2] / 400 <= 0.05
    assert named[3] / 400 <= 0.05
    assert named[2] > 0  # or the test could not tell a careful comparison from one that never decides


def test_a_better_model_is_found_and_said_to_be() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, 800)
    pair = only(
        {"vit": guess(rng, targets, 0.7), "convnext": guess(rng, targets, 0.9)},
        Truth(targets, CLASSES),
        Resampling(resamples=1000),
    )
    assert (pair.first, pair.second) == ("convnext", "vit")
    assert pair.distinguishable
    assert pair.more_photos_needed is None
    assert 0.1 < pair.low < 0.2 < pair.high < 0.3
    words = re.fullmatch(r"convnext is better than vit by ([\d.]+) points \(([\d.]+) to ([\d.]+)\)", pair.sentence)
    assert words is not None
    said = [float(number) / 100 for number in words.groups()]
    assert said == pytest.approx([pair.difference, pair.low, pair.high], abs=0.0006)


def test_the_difference_is_that_of_weighted_f1_and_its_interval_is_paired() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, CLASSES, 300)
    groups = rng.integers(0, 60, 300)
    first, second = guess(rng, targets, 0.85), guess(rng, targets, 0.8)
    pair = only({"a": first, "b": second}, Truth(targets, CLASSES, groups), Resampling(resamples=200, seed=4))
    assert pair.difference == pytest.approx(weighted_f1(targets, first) - weighted_f1(targets, second))
    differences = []
    codes = np.unique(groups, return_inverse=True)[1]
    for drawn in np.concatenate(list(resample_weights(Truth(targets, CLASSES, groups), Resampling(200, 4)))):
        photos = np.repeat(np.arange(300), drawn[codes].astype(int))
        differences.append(weighted_f1(targets[photos], first[photos]) - weighted_f1(targets[photos], second[photos]))
    assert (pair.low, pair.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.002)


def test_the_photos_said_to_be_needed_do_tell_the_models_apart_in_about_80_percent() -> None:
    rng = np.random.default_rng(3)

    def shown(photos: int) -> ModelPair:
        targets = np.arange(photos) % CLASSES
        return only(
            {"a": guess(rng, targets, 0.85), "b": guess(rng, targets, 0.80)},
            Truth(targets, CLASSES),
            Resampling(resamples=200),
        )

    # Predictions whose observed difference is exactly the true one: 85 % and 80 % right, independently.
    grid = np.arange(400)
    targets, first, second = grid % CLASSES, grid // 4 % 20 < 17, grid // 80 < 4
    exact = [np.where(right, targets, (targets + 1) % CLASSES) for right in (first, second)]
    pair = only({"a": exact[0], "b": exact[1]}, Truth(targets, CLASSES), Resampling(resamples=2000))
    assert not pair.distinguishable
    assert pair.more_photos_needed is not None
    assert pair.sentence == (
        f"a and b are not distinguishable on 400 photos; about {pair.more_photos_needed} more would be needed"
    )
    power = np.mean([shown(400 + pair.more_photos_needed).distinguishable for _ in range(200)])
    assert 0.7 <= power <= 0.9


def test_models_that_predict_the_same_need_no_number_of_photos() -> None:
    targets = np.arange(100) % CLASSES
    pair = only({"a": targets, "b": targets.copy()}, Truth(targets, CLASSES), Resampling(resamples=100))
    assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
    assert pair.sentence == (
        "a and b are not distinguishable on 100 photos; no practical number of photos would tell them apart"
    )


def test_photos_of_few_groups_do_not_pass_for_many() -> None:
    targets = np.arange(120) % CLASSES
    worse = np.where(np.arange(120) < 24, (targets + 1) % CLASSES, targets)
    alone = only({"a": targets, "b": worse}, Truth(targets, CLASSES), Resampling(resamples=500))
    grouped = only({"a": targets, "b": worse}, Truth(targets, CLASSES, np.arange(120) // 12), Resampling(resamples=500))
    assert alone.distinguishable
    assert not grouped.distinguishable  # two groups of ten: a coin falls so in half of the cases
    assert grouped.p == pytest.approx(0.5)


def test_luck_in_training_takes_a_win_away() -> None:
    rng = np.random.default_rng(5)
    targets = rng.integers(0, CLASSES, 1000)
    models = {"a": guess(rng, targets, 0.9), "b": guess(rng, targets, 0.84)}
    plain = only(models, Truth(targets, CLASSES), Resampling(resamples=500))
    little = only(
        models, Truth(targets, CLASSES), Resampling(resamples=500), seed_variance={"a": 0.002**2, "b": 0.002**2}
    )
    much = only(models, Truth(targets, CLASSES), Resampling(resamples=500), seed_variance={"a": 0.05**2})
    assert plain.distinguishable
    assert little.distinguishable
    assert not much.distinguishable
    assert plain.high - plain.low < little.high - little.low < much.high - much.low
    assert much.high - much.low == pytest.approx(2 * 1.96 * 0.052, rel=0.1)
    assert much.more_photos_needed is None  # photos do not average training seeds out


@given(st.lists(st.integers(-1, 1), max_size=60))
def test_without_groups_the_test_is_mcnemar_s(nets: list[int]) -> None:
    wins, discordant = nets.count(1), len(nets) - nets.count(0)
    expected = binomtest(wins, discordant, 0.5).pvalue if discordant else 1.0
    assert exact_p(np.array(nets, dtype=int)) == pytest.approx(expected)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_with_groups_the_test_is_that_of_all_sign_flips(nets: list[int]) -> None:
    net = np.array(nets, dtype=int)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(nets))).reshape(len(nets), -1)
    assert exact_p(net) == pytest.approx(np.mean(np.abs(net @ signs) >= abs(net.sum())))


def test_holm_gives_the_example_of_a_textbook_and_keeps_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_verdict_names_a_winner_only_when_it_beats_all() -> None:
    rng = np.random.default_rng(6)
    targets = rng.integers(0, CLASSES, 600)
    best = guess(rng, targets, 0.95)
    twin = best.copy()
    twin[:2] = (targets[:2] + 1) % CLASSES
    bad, worse = guess(rng, targets, 0.7), guess(rng, targets, 0.4)
    clear = compare_all({"bad": bad, "worse": worse, "best": best}, Truth(targets, CLASSES), Resampling(resamples=500))
    assert (clear.best, clear.best_is_better, len(clear.pairs)) == ("best", True, 3)
    assert clear.verdict.startswith("best is the best of 3 models: by ")
    assert " over bad and by " in clear.verdict
    close = compare_all({"bad": bad, "twin": twin, "best": best}, Truth(targets, CLASSES), Resampling(resamples=500))
    assert not close.best_is_better
    assert close.verdict.startswith("best scores highest but is not distinguishable from twin on 600 photos; ")
    assert compare_all({"best": best}, Truth(targets, CLASSES)).verdict == "best is the only model"


@pytest.mark.parametrize("right", [0.97, 0.6])
def test_an_ensemble_is_one_more_pair_and_never_the_best_model(right: float) -> None:
    rng = np.random.default_rng(8)
    targets = rng.integers(0, CLASSES, 300)
    models = {name: guess(rng, targets, share) for name, share in (("a", 0.75), ("b", 0.85), ("c", 0.8))}
    together = {"ensemble": guess(rng, targets, right)}
    alone = compare_all(models, Truth(targets, CLASSES), Resampling(resamples=300))
    found = compare_all(models, Truth(targets, CLASSES), Resampling(resamples=300), with_best=together)
    assert (found.best, len(found.pairs)) == ("b", 4)
    assert "ensemble" not in found.verdict
    pair = found.pairs[-1]
    assert (pair.first, pair.second) == (("ensemble", "b") if right > 0.9 else ("b", "ensemble"))
    with_all = compare_all({**models, **together}, Truth(targets, CLASSES), Resampling(resamples=300))
    (same,) = [each for each in with_all.pairs if {each.first, each.second} == {"b", "ensemble"}]
    assert (pair.difference, pair.low, pair.high, pair.p) == (same.difference, same.low, same.high, same.p)
    assert [each.p for each in found.pairs[:3]] == [each.p for each in alone.pairs]
    assert [each.p_holm for each in found.pairs] == pytest.approx(holm([each.p for each in found.pairs]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(2, 4))
def test_pairs_agree_with_their_numbers(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, CLASSES, 80)
    models = {f"model {at}": guess(rng, targets, rng.uniform(0.4, 1)) for at in range(count)}
    found = compare_all(models, Truth(targets, CLASSES), Resampling(resamples=200))
    assert len(found.pairs) == count * (count - 1) // 2
    assert found == compare_all(models, Truth(targets, CLASSES), Resampling(resamples=200))
    assert weighted_f1(targets, models[found.best]) == max(weighted_f1(targets, each) for each in models.values())
    for pair in found.pairs:
        assert pair.low <= pair.difference <= pair.high
        assert pair.difference >= 0
        assert pair.p <= pair.p_holm <= 1
        assert ("is better than" in pair.sentence) == pair.distinguishable
        if pair.distinguishable:
            assert pair.low > 0
            assert pair.p_holm <= 0.05


def test_bad_input_is_named() -> None:
    targets = np.zeros(3, dtype=int)
    with pytest.raises(UserError, match="no models to compare"):
        compare_all({}, Truth(targets, 2))
    with pytest.raises(UserError, match="Model a has 2 predictions for 3 photos"):
        compare_all({"a": targets[:2]}, Truth(targets, 2))
    with pytest.raises(UserError, match="confidence must be between 0 and 1"):
        compare_all({"a": targets}, Truth(targets, 2), Resampling(confidence=95))
