"""The split is a pure function of groups and of the places that some of them have; nothing crosses it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from florafauna.base.split_names import SPLITS
from florafauna.split._grouping import cluster_names, join
from florafauna.split._stratify import crossing, stratify

LABELS = st.sampled_from(["ash", "beech", "cedar", "date palm"])
PHOTOS = st.lists(st.tuples(LABELS, st.integers(0, 40)), min_size=1, max_size=120)


def columns(photos: list[tuple[str, int]]) -> tuple[pd.Series, pd.Series]:
    labels = pd.Series([label for label, _ in photos])
    return labels, pd.Series([f"group={number}" for _, number in photos])


@given(PHOTOS, st.integers(0, 5))
def test_groups_never_cross_and_every_photo_gets_a_split(photos: list[tuple[str, int]], seed: int) -> None:
    labels, keys = columns(photos)
    split = stratify(labels, keys, 0.2, 0.2, seed).split
    assert set(split) <= set(SPLITS)
    assert len(split) == len(photos)
    assert crossing(split, keys) == []


@given(PHOTOS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(photos: list[tuple[str, int]], random: object) -> None:
    labels, keys = columns(photos)
    order = list(range(len(photos)))
    random.shuffle(order)  # type: ignore[attr-defined]
    here = stratify(labels, keys, 0.2, 0.2, 0)
    there = stratify(labels.iloc[order], keys.iloc[order], 0.2, 0.2, 0)
    pd.testing.assert_series_equal(here.split, there.split.sort_index(), check_names=False)
    assert here.waivers == there.waivers


@given(PHOTOS)
def test_a_class_with_three_groups_of_its_own_is_in_every_split(photos: list[tuple[str, int]]) -> None:
    labels, numbers = columns(photos)
    keys = labels + numbers  # no group has two classes
    assignment = stratify(labels, keys, 0.2, 0.2, 0)
    for label, groups in keys.groupby(labels):
        got = set(assignment.split[labels == label])
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(groups.nunique(), set(SPLITS))
        assert got == wanted
        assert (label in assignment.waivers) == (groups.nunique() < 3)


def assert_shares_are_met(labels: pd.Series, keys: pd.Series, split: pd.Series, val: float, test: float) -> None:
    """Within one group of the target in every class, a target of less than a group being one group."""
    groups = pd.DataFrame({"label": labels, "key": keys, "split": split}).drop_duplicates("key")
    counts = pd.crosstab(groups["label"], groups["split"]).reindex(columns=list(SPLITS), fill_value=0)
    for _, got in counts.iterrows():
        size = got.sum()
        if size >= 3:
            targets = {"val": max(1, val * size), "test": max(1, test * size)}
            targets["train"] = size - sum(targets.values())
            assert all(abs(got[name] - target) <= 1 for name, target in targets.items()), got


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sampled_from([0.05, 0.1, 0.15, 0.3]),
    st.sampled_from([0.1, 0.2, 0.35]),
    st.integers(0, 100),
    st.data(),
)
def test_each_class_gets_its_shares_within_one_group(
    sizes: list[int], val: float, test: float, seed: int, data: st.DataObject
) -> None:
    """Whatever the sizes of the groups, drawn at once or in several instalments, none of which moves an earlier."""
    rows = [(str(label), f"{label} {number}") for label, size in enumerate(sizes) for number in range(size)]
    repeated = [row for row in rows for _ in range(data.draw(st.sampled_from([1, 1, 1, 2, 9])))]
    labels, keys = (pd.Series(column) for column in zip(*repeated, strict=True))
    assert_shares_are_met(labels, keys, stratify(labels, keys, val, test, seed).split, val, test)
    known = pd.Series("", index=keys.index)
    arrival = keys.map({key: data.draw(st.integers(0, 2)) for key in keys.unique()})
    for instalment in range(3):
        here = arrival <= instalment
        split = stratify(labels[here], keys[here], val, test, seed, known[here]).split
        assert ((known[here] == "") | (known[here] == split)).all()
        known[here] = split
        assert_shares_are_met(labels[here], keys[here], split, val, test)


@given(PHOTOS, PHOTOS, st.integers(0, 5))
def test_adding_photos_moves_no_earlier_group(
    first: list[tuple[str, int]], more: list[tuple[str, int]], seed: int
) -> None:
    """Also where groups hold several classes, and where the photos that are added belong to earlier groups."""
    labels, keys = columns(first + more)
    before = stratify(labels[: len(first)], keys[: len(first)], 0.2, 0.2, seed).split
    after = stratify(labels, keys, 0.2, 0.2, seed, before.reindex(labels.index, fill_value="")).split
    assert list(after[: len(first)]) == list(before)
    assert crossing(after, keys) == []


@given(PHOTOS, st.integers(0, 5))
def test_a_split_that_is_given_as_a_whole_is_the_result(photos: list[tuple[str, int]], seed: int) -> None:
    labels, keys = columns(photos)
    drawn = stratify(labels, keys, 0.2, 0.2, seed)
    again = stratify(labels, keys, 0.2, 0.2, seed + 1, drawn.split)
    assert list(again.split) == list(drawn.split)
    assert again.waivers == drawn.waivers


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_groups_of_several_classes_lack_no_more_splits_than_they_must(seed: int) -> None:
    """Sites with three species each: an exact solver finds no split in which fewer classes of three sites lack one."""
    rng = np.random.default_rng(seed)
    sites, classes = int(rng.integers(5, 20)), int(rng.integers(3, 15))
    weights = 1 / np.arange(1, classes + 1)
    rows = [
        (f"species {number}", f"site {site}")
        for site in range(sites)
        for number in rng.choice(classes, 3, replace=False, p=weights / weights.sum())
    ]
    labels, keys = (pd.Series(column) for column in zip(*rows, strict=True))
    groups = keys.groupby(labels).nunique()
    waivers = stratify(labels, keys, 0.15, 0.15, seed).waivers
    assert all("train" in got for got in waivers.values())
    lacking = sum(len(SPLITS) - len(got) for label, got in waivers.items() if groups[label] >= 3)
    assert lacking == fewest_lacking(pd.crosstab(labels, keys).to_numpy() > 0)


def fewest_lacking(holds: np.ndarray) -> int:
    """By integer programming; `holds` is (classes, groups). Every class trains."""
    classes, groups = holds.shape
    size = 3 * groups + 3 * classes  # where each group is; what each class lacks
    one_place = np.hstack([np.tile(np.eye(groups), 3), np.zeros((groups, 3 * classes))])
    covered = np.hstack([np.kron(np.eye(3), holds), np.eye(3 * classes)])
    cost = np.r_[np.zeros(3 * groups), np.tile(holds.sum(axis=1) >= 3, 3)]
    most = np.r_[np.ones(3 * groups), np.zeros(classes), np.ones(2 * classes)]
    found = milp(
        cost,
        constraints=[LinearConstraint(one_place, 1, 1), LinearConstraint(covered, 1, np.inf)],
        integrality=np.ones(size),
        bounds=Bounds(0, most),
    )
    return round(found.fun)


def test_one_large_group_does_not_fill_the_test_set() -> None:
    keys = pd.Series(["burst"] * 400 + [f"{number}" for number in range(49)] + ["x", "y", "z"])
    labels = pd.Series(["ash"] * 449 + ["beech"] * 3)
    for seed in range(20):
        split = stratify(labels, keys, 0.15, 0.15, seed).split
        assert set(split[:400]) == {"train"}


def test_many_classes_of_few_groups_have_the_right_shares_in_all() -> None:
    """Rounding does not add up: of 200 classes with 11 groups val and test hold 1.65 each, so 1 or 2."""
    labels = pd.Series([f"{number % 200}" for number in range(2200)])
    keys = pd.Series([f"{number}" for number in range(2200)])
    split = stratify(labels, keys, 0.15, 0.15, 0).split
    assert abs((split == "val").sum() - (split == "test").sum()) <= 1


def test_another_seed_gives_another_split() -> None:
    labels, keys = pd.Series(["ash", "beech"] * 50), pd.Series([str(number) for number in range(100)])
    assert list(stratify(labels, keys, 0.2, 0.2, 0).split) != list(stratify(labels, keys, 0.2, 0.2, 1).split)


def test_rare_classes_are_served_first_where_groups_hold_several_classes() -> None:
    """Three sites with the rare deer among twenty: each split gets one."""
    rows = [("fox", f"location={site}") for site in range(20) for _ in range(5)]
    rows += [("deer", f"location={site}") for site in (3, 4, 5)]
    labels, keys = (pd.Series(column) for column in zip(*rows, strict=True))
    assignment = stratify(labels, keys, 0.15, 0.15, 0)
    assert set(assignment.split[labels == "deer"]) == set(SPLITS)
    assert assignment.waivers == {}


def test_a_group_follows_the_split_that_is_given_for_one_of_its_photos() -> None:
    labels, keys = pd.Series(["ash"] * 4 + ["beech"] * 4), pd.Series(["a", "a", "b", "c"] * 2)
    given_ = pd.Series(["test", "", "", ""] * 2)
    split = stratify(labels, keys, 0.2, 0.0, 0, given_).split
    assert set(split[keys == "a"]) == {"test"}


def test_values_of_any_group_column_and_copies_join_photos() -> None:
    table = pd.DataFrame(
        {
            "sequence": ["s1", "s1", "", "", "", ""],
            "individual": ["", "fox 7", "fox 7", "", "", ""],
            "sha256": [f"{number:02x}" * 32 for number in range(6)],
        }
    )
    cluster = pd.Series(["", "", "c1", "c1", "", ""])
    groups = join(table, ("sequence", "individual"), cluster)
    assert groups["group"].nunique() == 2  # the four joined by s1, fox 7 and c1; and "" for the two on their own
    assert list(groups["group"][:4]) == ["sequence=s1"] * 4
    assert list(groups["group"][4:]) == ["", ""]
    assert groups["key"].nunique() == 3


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=20))
def test_more_photos_of_a_burst_leave_its_key(values: list[str]) -> None:
    def keys(of: list[str]) -> dict[str, str]:
        table = pd.DataFrame({"sequence": of, "sha256": [f"{number:02x}" * 32 for number in range(len(of))]})
        joined = join(table, ("sequence",), pd.Series("", index=table.index))
        return dict(zip(of, joined["key"], strict=True))

    assert keys(values + values[:1]) == keys(values)


def test_clusters_are_named_by_their_smallest_content() -> None:
    sha256 = pd.Series(["f" * 64, "a" * 64, "b" * 64])
    assert list(cluster_names(pd.Series([7, 7, 9]).to_numpy(), sha256)) == ["a" * 12, "a" * 12, ""]


@pytest.mark.parametrize("size", [1, 2])
def test_a_class_with_too_few_groups_is_a_waiver_that_names_what_it_got(size: int) -> None:
    labels = pd.Series(["ash"] * 30 + ["beech"] * 6)
    keys = pd.Series([f"a{number}" for number in range(30)] + [f"b{number % size}" for number in range(6)])
    waivers = stratify(labels, keys, 0.2, 0.2, 0).waivers
    assert waivers == {"beech": ("train",) if size == 1 else ("train", "test")}
