"""Folds: no group is divided, every class is spread, and photos that are added leave most others where they were."""

import numpy as np
import pytest

from florafauna.base.errors import UserError
from florafauna.folds.draw import grouped_folds, one_part


def photos(seed: int, count: int = 400, classes: int = 8, bursts: int = 90) -> tuple[np.ndarray, list[str]]:
    """Unequal classes, and bursts of one class each."""
    rng = np.random.default_rng(seed)
    burst = rng.integers(0, bursts, count)
    of_burst = rng.choice(classes, bursts, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return of_burst[burst], [f"burst {number}" for number in burst]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_divided_and_folds_are_alike(seed: int) -> None:
    targets, groups = photos(seed)
    folds = grouped_folds(targets, groups, 5)
    assert set(folds) == set(range(5))
    for group in set(groups):
        assert len({int(fold) for fold, name in zip(folds, groups, strict=True) if name == group}) == 1
    sizes = np.bincount(folds)
    assert sizes.min() >= 40  # of 400 in bursts of a dozen
    for target in np.unique(targets):
        own = [name for name, of in zip(groups, targets, strict=True) if of == target]
        spread = len(np.unique(folds[targets == target]))
        assert spread >= min(2, len(set(own)))


@pytest.mark.parametrize("seed", range(20))
def test_no_fold_is_empty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"{number}" for number in rng.integers(0, 7, 60)]
    assert set(grouped_folds(rng.integers(0, 3, 60), groups, len(set(groups)), seed)) == set(range(len(set(groups))))


def test_single_photos_of_a_class_are_divided_evenly() -> None:
    targets = np.repeat(np.arange(6), 33)
    folds = grouped_folds(targets, [str(number) for number in range(len(targets))], 5)
    for target in range(6):
        assert np.bincount(folds[targets == target], minlength=5).min() >= 5  # of 33 / 5


def test_a_class_of_two_photos_is_never_left_without_one_to_learn_from() -> None:
    for seed in range(20):
        targets = np.array([0] * 10 + [1] * 2)
        first, second = grouped_folds(targets, [f"{number}" for number in range(12)], 5, seed)[-2:]
        assert first != second


def test_the_order_of_the_photos_does_not_matter() -> None:
    targets, groups = photos(0)
    shuffled = np.random.default_rng(1).permutation(len(targets))
    folds = grouped_folds(targets, groups, 5)
    assert (grouped_folds(targets[shuffled], [groups[row] for row in shuffled], 5) == folds[shuffled]).all()
    assert (grouped_folds(targets, groups, 5, seed=1) != folds).any()


def test_added_photos_leave_nearly_all_others_in_their_folds() -> None:
    targets, names = np.arange(500) % 10, [f"photo {number}" for number in range(500)]
    before = grouped_folds(targets, names, 5)
    after = grouped_folds(np.append(targets, [3, 4]), [*names, "new", "newer"], 5)
    assert (before != after[:500]).mean() < 0.05


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UserError, match="3 groups of photos cannot be divided into 5 folds"):
        grouped_folds(np.zeros(9, int), ["a", "b", "c"] * 3, 5)


def test_what_chooses_the_checkpoint_does_not_take_the_last_group_of_a_class() -> None:
    """Without the fold that is left out, of a class with two groups there is one."""
    targets, groups = photos(0)
    targets, groups = np.append(targets, range(8, 28)), [*groups, *map(str, range(20))]
    plain = grouped_folds(targets, groups, 5) == 0
    assert set(targets) - set(targets[~plain]), "else nothing is shown"
    chosen = one_part(targets, groups, 5)
    assert not set(targets) - set(targets[~chosen])
    assert not set(np.array(groups)[chosen]) & set(np.array(groups)[~chosen])
    assert one_part(np.arange(4), list("abcd"), 2).any(), "where no class has two groups one is taken all the same"
