"""Probabilities summed up a taxonomy, and answers as fine as a threshold allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from florafauna.base.errors import UserError
from florafauna.scores.ranks import (
    RolledUp,
    choose_roll_up,
    rank_probabilities,
    realised_roll_up,
    roll_up,
    scores_at,
    taxa_at,
)

RANKS = ("species", "genus", "family", "kingdom")


def taxa(species: str, genus: str, family: str, kingdom: str = "Animalia") -> dict[str, str]:
    return {"species": species, "genus": genus, "family": family, "kingdom": kingdom}


BIRDS = [
    taxa("Parus major", "Parus", "Paridae"),
    taxa("Parus minor", "Parus", "Paridae"),
    taxa("Poecile montanus", "Poecile", "Paridae"),
    taxa("Quercus robur", "Quercus", "Fagaceae", "Plantae"),
]


def probabilities(seed: int, photos: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.5), photos)


def test_probabilities_of_a_genus_are_those_of_its_species() -> None:
    names, summed = rank_probabilities(np.array([[0.4, 0.3, 0.2, 0.1]]), BIRDS, "genus")
    assert names == ["Parus", "Poecile", "Quercus"]
    assert summed[0] == pytest.approx([0.7, 0.2, 0.1])


@given(st.integers(0, 1000), st.sampled_from(RANKS))
def test_probabilities_of_every_rank_sum_to_1(seed: int, rank: str) -> None:
    assert rank_probabilities(probabilities(seed), BIRDS, rank)[1].sum(axis=1) == pytest.approx(1)


def test_a_class_without_a_rank_belongs_to_none() -> None:
    ancestors = [*BIRDS[:3], {"species": "vehicle"}]
    names, of_class = taxa_at(ancestors, "family")
    assert (names, of_class.tolist()) == (["Paridae"], [0, 0, 0, -1])
    found = scores_at(np.eye(4), np.array([0, 1, 2, 3]), ancestors, "family")
    assert found is not None
    assert (found.photos, found.taxa, found.accuracy) == (3, 1, 1.0)
    assert scores_at(np.eye(4), np.array([3]), ancestors, "family") is None


def test_a_genus_of_plants_and_of_animals_is_two() -> None:
    ancestors = [
        taxa("Oenanthe oenanthe", "Oenanthe", "Muscicapidae"),
        taxa("Oenanthe hispanica", "Oenanthe", "Muscicapidae"),
        taxa("Oenanthe crocata", "Oenanthe", "Apiaceae", "Plantae"),
    ]
    names, of_class = taxa_at(ancestors, "genus")
    assert names == ["Oenanthe (Animalia)", "Oenanthe (Plantae)"]
    assert of_class.tolist() == [0, 0, 1]
    assert taxa_at(ancestors[:2], "genus")[0] == ["Oenanthe"]


def test_mistaking_a_species_for_its_sister_is_right_at_the_genus() -> None:
    predicted = np.eye(4)[[1, 0, 2, 2]]
    targets = np.array([0, 1, 2, 3])
    accuracies = [scores_at(predicted, targets, BIRDS, rank) for rank in RANKS]
    assert [each.accuracy for each in accuracies if each] == [0.25, 0.75, 0.75, 0.75]


def test_the_likeliest_genus_need_not_be_that_of_the_likeliest_species() -> None:
    found = scores_at(np.array([[0.3, 0.3, 0.4, 0.0]]), np.array([0]), BIRDS, "genus")
    assert found is not None
    assert found.accuracy == 1


def test_the_answer_is_as_fine_as_the_threshold_allows() -> None:
    photos = np.array([[0.9, 0.1, 0.0, 0.0], [0.5, 0.4, 0.1, 0.0], [0.3, 0.3, 0.3, 0.1], [0.3, 0.1, 0.1, 0.5]])
    found = roll_up(photos, BIRDS, RANKS, 0.8)
    assert [(each.rank, each.taxon) for each in found] == [
        ("species", "Parus major"),
        ("genus", "Parus"),
        ("family", "Paridae"),
        (None, None),
    ]
    assert [each.probability for each in found] == pytest.approx([0.9, 0.9, 0.9, 0.0])


@given(st.integers(0, 1000), st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_higher_threshold_never_gives_a_finer_answer(seed: int, one: float, other: float) -> None:
    def coarseness(answers: list[RolledUp]) -> list[int]:
        return [len(RANKS) if each.rank is None else RANKS.index(each.rank) for each in answers]

    low, high = sorted([one, other])
    finer, coarser = (roll_up(probabilities(seed), BIRDS, RANKS, by) for by in (low, high))
    assert all(fine <= coarse for fine, coarse in zip(coarseness(finer), coarseness(coarser), strict=True))
    assert all(each.probability >= low - 1e-6 for each in finer if each.rank is not None)


def drawn(seed: int, photos: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that mean what they say: each photo's class is drawn from its own."""
    given = probabilities(seed, photos)
    chance = np.random.default_rng(seed + 1).random((photos, 1))
    return given, np.minimum((given.cumsum(axis=1) < chance).sum(axis=1), 3)


@given(st.integers(0, 1000), st.floats(0.3, 1))
def test_what_a_roll_up_gives_is_counted_photo_by_photo(seed: int, threshold: float) -> None:
    given_probabilities, targets = drawn(seed, 40)
    found, at_rank = realised_roll_up(given_probabilities, targets, None, BIRDS, RANKS, threshold)
    answers = roll_up(given_probabilities, BIRDS, RANKS, threshold)
    answered = [(each, target) for each, target in zip(answers, targets, strict=True) if each.rank is not None]
    right = [BIRDS[target][each.rank or ""] == each.taxon for each, target in answered]
    assert found.accepted == len(answered) == sum(at_rank.values())
    assert found.coverage == pytest.approx(len(answered) / 40)
    assert found.precision == (pytest.approx(np.mean(right)) if right else None)
    assert at_rank == {rank: sum(each.rank == rank for each, _ in answered) for rank in RANKS}


def test_the_promised_precision_of_a_roll_up_is_kept_in_at_least_95_percent_of_worlds() -> None:
    tested, truth = drawn(10_000, 20_000)
    broken, chosen = 0, 0
    for seed in range(300):
        found = choose_roll_up(*drawn(seed, 200), None, BIRDS, RANKS[:3], 0.9)
        if found.threshold is not None:
            gives, _ = realised_roll_up(tested, truth, None, BIRDS, RANKS[:3], found.threshold)
            assert gives.precision is not None
            chosen += 1
            broken += gives.precision < 0.9
    assert chosen > 200
    assert broken / 300 <= 0.05


def test_a_roll_up_says_what_it_answers_on_the_photos_it_was_chosen_on() -> None:
    given_probabilities, targets = drawn(4, 400)
    found = choose_roll_up(given_probabilities, targets, None, BIRDS, RANKS[:3], 0.9)
    gives, _ = realised_roll_up(given_probabilities, targets, None, BIRDS, RANKS[:3], found.threshold)
    assert (gives.accepted, gives.precision) == (found.accepted, pytest.approx(found.precision))
    assert found.bound is not None
    assert found.precision is not None
    assert 0.9 <= found.bound < found.precision
    assert f"of {found.accepted} answered photos are correct" in found.sentence


def test_copies_of_photos_promise_nothing_more() -> None:
    given_probabilities, targets = (np.repeat(each, 20, axis=0) for each in drawn(4, 20))
    groups = np.repeat(np.arange(20), 20)
    alone, together = (
        choose_roll_up(given_probabilities, targets, known, BIRDS, RANKS[:3], 0.9) for known in (None, groups)
    )
    assert alone.threshold is not None
    assert together.threshold is None
    assert "400 validation photos (in groups, worth 20)" in together.sentence


def test_a_precision_that_cannot_be_shown_gives_no_threshold_and_no_answer() -> None:
    given_probabilities, targets = drawn(4, 20)
    few = choose_roll_up(given_probabilities, np.full(20, 3), None, BIRDS, RANKS, 0.95)
    assert few.threshold is None
    assert few.sentence.startswith("No threshold shows a precision of 95.0% on 20 validation photos; ")
    wrong = choose_roll_up(np.eye(4)[np.arange(400) % 4], (np.arange(400) + 1) % 4, None, BIRDS, RANKS[:1], 0.9)
    assert wrong.threshold is None
    assert "on 400 validation photos; more photos alone would not do" in wrong.sentence
    gives, at_rank = realised_roll_up(given_probabilities, targets, None, BIRDS, RANKS, None)
    assert (gives.accepted, gives.coverage, gives.precision, sum(at_rank.values())) == (0, 0.0, None, 0)


def test_a_rank_that_no_class_has_answers_nothing() -> None:
    given_probabilities, targets = drawn(5, 30)
    with_it, at_rank = realised_roll_up(given_probabilities, targets, None, BIRDS, ("species", "order"), 0.5)
    without, _ = realised_roll_up(given_probabilities, targets, None, BIRDS, ("species",), 0.5)
    assert with_it == without
    assert at_rank["order"] == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="taxonomy has 3 classes but the probabilities have 4"):
        rank_probabilities(np.eye(4), BIRDS[:3], "genus")
    with pytest.raises(UserError, match="threshold must be above 0"):
        roll_up(np.eye(4), BIRDS, RANKS, 0)
