"""Comparing models: no winner among equals, the better one found, and sentences that say so."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from florafauna.base.errors import UserError
from florafauna.base.metrics import weighted_f1
from florafauna.compare._power import Collection, more_photos, smallest_difference
from florafauna.compare._tests import equivalence_p, exact_p, holm
from florafauna.compare._verdict import BETTER, SAME, UNDECIDED, Comparison, ModelPair
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.scores.bootstrap import Resampling, Truth, resample_weights

CLASSES = 4


def guess(rng: np.random.Generator, targets: np.ndarray, right: float | np.ndarray) -> np.ndarray:
    wrong = (targets + rng.integers(1, CLASSES, len(targets))) % CLASSES
    return np.where(rng.random(len(targets)) < right, targets, wrong)


def candidates(models: dict[str, np.ndarray]) -> dict[str, Candidate]:
    """Each costs more than the one before."""
    return {name: Candidate(predicted, (number,)) for number, (name, predicted) in enumerate(models.items())}


def asked(resamples: int, seed: int = 0, **others: Any) -> Question:
    return Question(**{"margin": 0.01, "how": Resampling(resamples, seed)} | others)


def only(models: dict[str, np.ndarray], truth: Truth, question: Question) -> ModelPair:
    (pair,) = compare_all(candidates(models), truth, question).pairs
    return pair


def apart(rng: np.random.Generator, photos: int, difference: float, share: float) -> tuple[np.ndarray, ...]:
    """Targets and two predictions; a `share` of the photos tells them apart, the first is ahead by `difference`."""
    targets, luck = rng.integers(0, CLASSES, photos), rng.random(photos)
    wrong = (targets + rng.integers(1, CLASSES, photos)) % CLASSES
    first = luck < 0.8 + (difference + share) / 2
    second = (luck < 0.8) | ((luck >= 0.8 + (difference + share) / 2) & (luck < 0.8 + share))
    return targets, np.where(first, targets, wrong), np.where(second, targets, wrong)


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
            found = compare_all(candidates(some), Truth(targets, CLASSES, groups if grouped else None), asked(200))
            named[count] += any(pair.finding == BETTER for pair in found.pairs)
    assert named[2] / 400 <= 0.05
    assert named[3] / 400 <= 0.05
    assert named[2] > 0  # or the test could not tell a careful comparison from one that never decides


def test_the_best_of_several_on_the_same_photos_is_corrected_for_all_pairs() -> None:
    targets = np.arange(300) % CLASSES
    wrong = (targets + 1) % CLASSES
    second = np.where(np.arange(300) < 12, wrong, targets)
    first = np.where(np.arange(300) == 299, wrong, targets)  # 12 photos against 1: p = 0.0034
    once, of_ten = (only({"a": first, "b": second}, Truth(targets, CLASSES), asked(300, possible=n)) for n in (0, 45))
    assert (once.finding, of_ten.finding) == (BETTER, UNDECIDED)
    assert of_ten.p_holm == pytest.approx(45 * once.p_holm)
    assert of_ten.smallest_difference > once.smallest_difference


def test_the_interval_of_a_difference_covers_it_with_few_groups() -> None:
    """Six walks, on each of which either model has its own luck."""
    rng, groups, covered = np.random.default_rng(5), np.repeat(np.arange(6), 15), 0
    for _ in range(300):
        targets = rng.integers(0, CLASSES, len(groups))
        models = {name: guess(rng, targets, rng.normal(0.7, 0.15, 6)[groups]) for name in ("vit", "convnext")}
        pair = only(models, Truth(targets, CLASSES, groups), asked(200))
        covered += pair.low <= 0 <= pair.high
    assert covered >= 300 * 0.93


def test_a_better_model_is_found_and_said_to_be() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, 800)
    pair = only(
        {"vit": guess(rng, targets, 0.7), "convnext": guess(rng, targets, 0.9)},
        Truth(targets, CLASSES),
        asked(1000),
    )
    assert (pair.first, pair.second, pair.finding) == ("convnext", "vit", BETTER)
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
    pair = only({"a": first, "b": second}, Truth(targets, CLASSES, groups), asked(200, seed=4))
    assert pair.difference == pytest.approx(weighted_f1(targets, first) - weighted_f1(targets, second))
    differences = []
    codes = np.unique(groups, return_inverse=True)[1]
    for drawn in np.concatenate(list(resample_weights(Truth(targets, CLASSES, groups), Resampling(200, 4)))):
        photos = np.repeat(np.arange(300), drawn[codes].astype(int))
        differences.append(weighted_f1(targets[photos], first[photos]) - weighted_f1(targets[photos], second[photos]))
    assert (pair.low, pair.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.003)


def test_models_as_far_apart_as_the_margin_are_called_the_same_in_at_most_5_percent() -> None:
    """Few photos that tell them apart, or none at all, are no proof that they are alike."""
    rng = np.random.default_rng(4)
    said = dict.fromkeys((300, 1500), 0)
    for photos in said:
        for _ in range(300):
            targets, first, second = apart(rng, photos, 0.01, 0.012 if photos == 300 else 0.02)
            pair = only({"a": first, "b": second}, Truth(targets, CLASSES), asked(100))
            said[photos] += pair.finding == SAME
    assert all(0 < count <= 0.05 * 300 for count in said.values()), said


def test_models_that_hardly_differ_are_the_same_and_the_cheaper_one_is_named() -> None:
    targets, first, second = apart(np.random.default_rng(1), 4000, 0.0, 0.02)
    pair = only({"a": first, "b": second}, Truth(targets, CLASSES), asked(200))
    assert (pair.finding, pair.p_same < 0.05) == (SAME, True)
    assert (
        pair.sentence == f"{pair.first} and {pair.second} are practically the same, within 1 point: take a, the cheaper"
    )
    wide = only({"a": first, "b": second}, Truth(targets, CLASSES), asked(200, margin=0.0005))
    assert wide.finding == UNDECIDED
    for cost, advice in (((1,), ": take either, they cost the same"), ((), "")):
        alike = {name: Candidate(predicted, cost) for name, predicted in (("a", first), ("b", second))}
        (pair,) = compare_all(alike, Truth(targets, CLASSES), asked(200)).pairs
        assert pair.sentence.endswith(f", within 1 point{advice}")


def test_a_lead_below_the_margin_that_is_sure_is_practically_none() -> None:
    targets = np.arange(20_000) % CLASSES
    second = np.where(np.arange(20_000) % 250 == 0, (targets + 1) % CLASSES, targets)
    pair = only({"a": targets, "b": second}, Truth(targets, CLASSES), asked(100))
    assert pair.low > 0
    assert pair.p_holm < 1e-9
    assert pair.finding == SAME


def test_the_tests_of_equivalence_are_those_of_the_literature() -> None:
    """Tango (1998), table II: 43 of 44 pairs agree, one is right with the second treatment alone."""
    variance = (1 / 44 - (1 / 44) ** 2) / 44
    z = (1 - 44 * 0.1) / (44 * 0.09) ** 0.5  # without a photo for the other model, the restricted estimate is 0
    assert equivalence_p(1 / 44, variance, 44, margin=0.1) == pytest.approx(max(norm.cdf(z), binom.cdf(1, 44, 0.1)))
    plain = norm.sf((0.05 - 0.01) / (0.1 / 100_000) ** 0.5)  # with many photos the variance is the one seen
    assert equivalence_p(0.01, 0.1 / 100_000, 100_000, margin=0.05) == pytest.approx(plain, abs=1e-9)
    assert equivalence_p(0.06, 0.1 / 1000, 1000, margin=0.05) > 0.5
    assert equivalence_p(0.0, 0.0, 10_000, 0.01, of_seeds=0.01**2, freedom=3) > 0.15


def test_the_smallest_difference_is_shown_in_about_80_percent() -> None:
    rng = np.random.default_rng(3)
    targets, first, second = apart(rng, 800, 0.0, 0.2)
    pair = only({"a": first, "b": second}, Truth(targets, CLASSES), asked(500))
    assert pair.smallest_difference == pytest.approx((1.96 + 0.842) * (0.2 / 800) ** 0.5 + 1 / 800, rel=0.1)
    found = 0
    for _ in range(200):
        targets, first, second = apart(rng, 800, pair.smallest_difference, 0.2)
        found += only({"a": first, "b": second}, Truth(targets, CLASSES), asked(100)).finding == BETTER
    assert 0.7 <= found / 200 <= 0.9


def test_the_photos_to_collect_are_a_range_that_holds_the_true_number() -> None:
    """Enough that 20 % of all photos show 5 points where they now show 7; the number depends on no chance lead."""
    rng = np.random.default_rng(2)
    wanted = (norm.isf(0.025) + norm.ppf(0.8)) ** 2
    true = 2000 * (wanted * 0.2 / 400 / 0.05**2 - 1)
    held, middles = 0, []
    for _ in range(100):
        targets, first, second = apart(rng, 400, rng.choice([0.0, 0.05]), 0.2)
        question = asked(1000, margin=0.05, collection=Collection(2000, 400))
        found = only({"a": first, "b": second}, Truth(targets, CLASSES), question).more_photos
        assert found is not None
        held += found[0] <= true <= found[1]
        middles.append(sum(found) / 2)
    assert held >= 90
    assert true / 2 < np.quantile(middles, 0.1) < np.quantile(middles, 0.9) < true * 2


def test_photos_to_collect_are_named_only_where_they_help() -> None:
    net, collection = np.array([1, -1, 1, -1]), Collection(1000, 200)

    def needed(margin: float, of_seeds: float = 0.0) -> tuple[int, int] | None:
        return more_photos(net, 4 / 200**2, 200, of_seeds, 0.05, margin, 0.95, collection)

    assert needed(0.01, of_seeds=0.01**2) is None  # photos do not average training seeds out
    assert needed(0.5) == (0, 0)
    fewest, most = needed(0.02) or (0, 0)
    assert 0 < fewest < most


def test_photos_that_all_favour_one_model_must_be_enough_for_the_exact_test() -> None:
    least = smallest_difference(0.0, 200, 0.0, 0.05)
    assert exact_p(np.ones(6)) <= 0.05 < exact_p(np.ones(5))
    assert binom.sf(5, 200, least) == pytest.approx(0.8)
    assert smallest_difference(0.0, 5, 0.0, 0.05) == 1


def test_models_that_predict_the_same_are_not_thereby_shown_to_be_alike() -> None:
    targets = np.arange(100) % CLASSES
    pair = only({"a": targets, "b": targets.copy()}, Truth(targets, CLASSES), asked(100))
    assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
    assert pair.sentence == (
        "a and b are not distinguishable on 100 test photos, which could have shown a difference of 7.8 points"
    )
    question = asked(100, collection=Collection(500, 100))
    pair = only({"a": targets, "b": targets.copy()}, Truth(targets, CLASSES), question)
    assert pair.sentence.endswith(
        "7.8 points; to show 1 point, collect 3,500 to 14,000 more photos in all, of which 20 % are test photos"
    )


def test_photos_of_few_groups_do_not_pass_for_many() -> None:
    targets = np.arange(120) % CLASSES
    worse = np.where(np.arange(120) < 24, (targets + 1) % CLASSES, targets)
    alone = only({"a": targets, "b": worse}, Truth(targets, CLASSES), asked(500))
    grouped = only({"a": targets, "b": worse}, Truth(targets, CLASSES, np.arange(120) // 12), asked(500))
    assert alone.finding == BETTER
    assert grouped.finding == UNDECIDED  # two groups of ten: a coin falls so in half of the cases
    assert grouped.p == pytest.approx(0.5)


def test_luck_in_training_takes_a_win_away() -> None:
    rng = np.random.default_rng(5)
    targets = rng.integers(0, CLASSES, 1000)
    models = {"a": guess(rng, targets, 0.9), "b": guess(rng, targets, 0.84)}

    def trained(sd: float, seeds: int = 30) -> ModelPair:
        several = {name: Candidate(each, (), seeds, sd**2) for name, each in models.items()}
        question = asked(500, collection=Collection(5000, 1000))
        (pair,) = compare_all(several, Truth(targets, CLASSES), question).pairs
        return pair

    plain, little, much, few = trained(0, 1), trained(0.002), trained(0.04), trained(0.04, 2)
    assert plain.finding == little.finding == BETTER
    assert much.finding == few.finding == UNDECIDED
    assert plain.high - plain.low < little.high - little.low < much.high - much.low < few.high - few.low
    assert much.high - much.low == pytest.approx(2 * 2.0 * 0.059, rel=0.1)
    assert few.high - few.low > 0.4  # two trainings each say little of how trainings vary
    assert much.more_photos is None  # photos do not average training seeds out
    assert much.sentence.endswith("no number of photos would show 1 point, because scores vary more between seeds")


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


def verdict(models: dict[str, np.ndarray], targets: np.ndarray, once: bool = False, **others: Any) -> Comparison:
    """Trained with several seeds, unless `once`."""
    several = {name: replace(each, seeds=1 if once else 3) for name, each in candidates(models).items()}
    return compare_all(several, Truth(targets, CLASSES), asked(300, **others))


def test_the_verdict_names_a_winner_only_when_it_beats_all() -> None:
    rng = np.random.default_rng(6)
    targets = rng.integers(0, CLASSES, 600)
    best = guess(rng, targets, 0.95)
    twin = best.copy()
    twin[:2] = (targets[:2] + 1) % CLASSES
    bad, worse = guess(rng, targets, 0.7), guess(rng, targets, 0.4)
    clear = verdict({"best": best, "bad": bad, "worse": worse}, targets)
    assert (clear.best, clear.best_is_better, len(clear.pairs)) == ("best", True, 3)
    assert clear.verdict.startswith("best is the best of 3 models: by ")
    assert " over bad and by " in clear.verdict
    close = verdict({"best": best, "bad": bad, "twin": twin}, targets)
    assert not close.best_is_better
    assert close.headline == (
        "best, chosen on the validation photos, is better than bad and not distinguishable from twin on 600 test photos"
    )
    of_all = verdict({"best": best, "bad": bad, "twin": twin}, targets, called="photos")
    assert of_all.headline == close.headline.replace("test photos", "photos")
    assert close.notes == ["They could have shown a difference of 1.5 points"]
    assert verdict({"best": best}, targets).verdict == "best is the only model"


def test_the_verdict_is_about_the_model_that_was_chosen_even_where_another_is_better() -> None:
    rng = np.random.default_rng(6)
    targets = rng.integers(0, CLASSES, 600)
    good, bad = guess(rng, targets, 0.95), guess(rng, targets, 0.7)
    found = verdict({"chosen": bad, "other": good}, targets)
    assert (found.best, found.best_is_better, found.pairs[0].first) == ("chosen", False, "other")
    assert found.verdict.startswith("chosen, chosen on the validation photos, is worse than other by ")


def test_the_verdict_takes_the_cheapest_of_what_is_practically_the_same() -> None:
    rng = np.random.default_rng(0)
    targets, first, second = apart(rng, 4000, 0.0, 0.02)
    models = {"big": first, "small": second, "bad": guess(rng, targets, 0.5)}
    sizes = {"big": 9, "small": 1, "bad": 0}
    several = {name: Candidate(each, (sizes[name],), seeds=3) for name, each in models.items()}
    found = compare_all(several, Truth(targets, CLASSES), asked(300))
    assert found.headline == (
        "big, chosen on the validation photos, is better than bad and practically the same as small, within 1 point: "
        "take small, the cheaper"
    )
    bad = {"bad": several["bad"], "like it": several["bad"], "big": several["big"]}
    found = compare_all(bad, Truth(targets, CLASSES), asked(300))
    assert found.headline.endswith("and practically the same as like it, within 1 point"), "big is better than both"


def test_a_model_that_was_trained_once_speaks_for_its_checkpoint_alone() -> None:
    rng = np.random.default_rng(6)
    targets = rng.integers(0, CLASSES, 300)
    models = {"a": guess(rng, targets, 0.95), "b": guess(rng, targets, 0.7)}
    assert verdict(models, targets, once=True).verdict.endswith(
        ". Each model was trained once, so this is about these checkpoints, not about the recipes"
    )
    several = {"a": Candidate(models["a"], seeds=3), "b": Candidate(models["b"])}
    assert compare_all(several, Truth(targets, CLASSES), asked(100)).verdict.endswith(
        ". b was trained once, so this is about its checkpoint, not about its recipe"
    )


@pytest.mark.parametrize("right", [0.97, 0.6])
def test_an_ensemble_is_one_more_pair_and_never_the_best_model(right: float) -> None:
    rng = np.random.default_rng(8)
    targets = rng.integers(0, CLASSES, 300)
    models = {name: guess(rng, targets, share) for name, share in (("b", 0.85), ("a", 0.75), ("c", 0.8))}
    together = {"ensemble": guess(rng, targets, right)}
    truth, everything = Truth(targets, CLASSES), candidates({**models, **together})
    alone = compare_all(candidates(models), truth, asked(300))
    found = compare_all(candidates(models), truth, asked(300), {"ensemble": everything["ensemble"]})
    assert (found.best, len(found.pairs)) == ("b", 4)
    assert "ensemble" not in found.verdict
    pair = found.pairs[-1]
    assert (pair.first, pair.second) == (("ensemble", "b") if right > 0.9 else ("b", "ensemble"))
    with_all = compare_all(everything, truth, asked(300))
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
    found = compare_all(candidates(models), Truth(targets, CLASSES), asked(200, collection=Collection(400, 80)))
    assert len(found.pairs) == count * (count - 1) // 2
    assert found == compare_all(candidates(models), Truth(targets, CLASSES), asked(200, collection=Collection(400, 80)))
    assert found.best == "model 0"  # whatever the test photos say
    for pair in found.pairs:
        assert pair.low <= pair.difference <= pair.high
        assert pair.difference >= 0
        assert pair.p <= pair.p_holm <= 1
        assert pair.p_same <= pair.p_same_holm <= 1
        assert pair.smallest_difference > 0
        assert pair.more_photos is not None
        assert 0 <= pair.more_photos[0] <= pair.more_photos[1]
        assert ("is better than" in pair.sentence) == (pair.finding == BETTER)
        if pair.finding == BETTER:
            assert pair.low > 0
            assert pair.p_holm <= 0.05


def test_bad_input_is_named() -> None:
    targets = np.zeros(3, dtype=int)
    with pytest.raises(UserError, match="no models to compare"):
        compare_all({}, Truth(targets, 2), asked(100))
    with pytest.raises(UserError, match="Model a has 2 predictions for 3 photos"):
        compare_all(candidates({"a": targets[:2]}), Truth(targets, 2), asked(100))
    with pytest.raises(UserError, match="confidence must be between 0 and 1"):
        compare_all(candidates({"a": targets}), Truth(targets, 2), Question(0.01, Resampling(confidence=95)))
