"""Probabilities summed up a taxonomy, and answers as fine as a threshold allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from florafauna.errors import UserError
from florafauna.scores.ranks import RolledUp, rank_probabilities, roll_up, scores_at, taxa_at

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


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="taxonomy has 3 classes but the probabilities have 4"):
        rank_probabilities(np.eye(4), BIRDS[:3], "genus")
    with pytest.raises(UserError, match="threshold must be above 0"):
        roll_up(np.eye(4), BIRDS, RANKS, 0)
