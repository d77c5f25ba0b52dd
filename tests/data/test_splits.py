"""The split is a pure, seed-stable function of groups; nothing crosses it."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from florafauna.grouping import cluster_names, join
from florafauna.splits import SPLITS, assign, crossing

LABELS = st.sampled_from(["ash", "beech", "cedar", "date palm"])
PHOTOS = st.lists(st.tuples(LABELS, st.integers(0, 40)), min_size=1, max_size=120)


def columns(photos: list[tuple[str, int]]) -> tuple[pd.Series, pd.Series]:
    labels = pd.Series([label for label, _ in photos])
    return labels, pd.Series([f"group={number}" for _, number in photos])


@given(PHOTOS, st.integers(0, 5))
def test_groups_never_cross_and_every_photo_gets_a_split(photos: list[tuple[str, int]], seed: int) -> None:
    labels, keys = columns(photos)
    split = assign(labels, keys, 0.2, 0.2, seed).split
    assert set(split) <= set(SPLITS)
    assert len(split) == len(photos)
    assert crossing(split, keys) == []


@given(PHOTOS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(photos: list[tuple[str, int]], random: object) -> None:
    labels, keys = columns(photos)
    order = list(range(len(photos)))
    random.shuffle(order)  # type: ignore[attr-defined]
    here = assign(labels, keys, 0.2, 0.2, 0)
    there = assign(labels.iloc[order], keys.iloc[order], 0.2, 0.2, 0)
    pd.testing.assert_series_equal(here.split, there.split.sort_index(), check_names=False)
    assert here.waivers == there.waivers


@given(PHOTOS)
def test_a_class_with_three_groups_of_its_own_is_in_every_split(photos: list[tuple[str, int]]) -> None:
    labels, numbers = columns(photos)
    keys = labels + numbers  # no group has two classes
    assignment = assign(labels, keys, 0.2, 0.2, 0)
    for label, groups in keys.groupby(labels):
        got = set(assignment.split[labels == label])
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(groups.nunique(), set(SPLITS))
        assert got == wanted
        assert (label in assignment.waivers) == (groups.nunique() < 3)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 200))
def test_adding_photos_moves_no_other(seed: int, added: int) -> None:
    labels = pd.Series(["ash", "beech"] * 200)
    keys = pd.Series([f"sha256={number:012x}" for number in range(400)])
    before = assign(labels, keys, 0.15, 0.15, seed).split
    more = pd.Series([f"sha256=new{number}" for number in range(added)])
    after = assign(pd.concat([labels, pd.Series(["ash"] * added)]), pd.concat([keys, more]), 0.15, 0.15, seed).split
    assert list(after[: len(before)]) == list(before)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.15, 0.3]), st.sampled_from([0.1, 0.2]))
def test_shares_are_those_of_independent_draws(seed: int, val: float, test: float) -> None:
    keys = pd.Series([f"sha256={number}" for number in range(2000)])
    split = assign(pd.Series(["ash", "beech"] * 1000), keys, val, test, seed).split
    for name, share in (("val", val), ("test", test)):
        assert abs((split == name).mean() - share) < 5 * math.sqrt(share * (1 - share) / 2000)


def test_another_seed_gives_another_split() -> None:
    labels, keys = pd.Series(["ash", "beech"] * 50), pd.Series([str(number) for number in range(100)])
    assert list(assign(labels, keys, 0.2, 0.2, 0).split) != list(assign(labels, keys, 0.2, 0.2, 1).split)


def test_rare_classes_are_served_first_where_groups_hold_several_classes() -> None:
    """Three sites with the rare deer among twenty: each split gets one, and common species keep their places."""
    rows = [("fox", f"location={site}") for site in range(20) for _ in range(5)]
    rows += [("deer", f"location={site}") for site in (3, 4, 5)]
    labels, keys = (pd.Series(column) for column in zip(*rows, strict=True))
    assignment = assign(labels, keys, 0.15, 0.15, 0)
    assert set(assignment.split[labels == "deer"]) == set(SPLITS)
    assert assignment.waivers == {}


def test_a_group_follows_the_split_that_is_given_for_one_of_its_photos() -> None:
    labels, keys = pd.Series(["ash"] * 4 + ["beech"] * 4), pd.Series(["a", "a", "b", "c"] * 2)
    given_ = pd.Series(["test", "", "", ""] * 2)
    split = assign(labels, keys, 0.2, 0.0, 0, given_).split
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
    waivers = assign(labels, keys, 0.2, 0.2, 0).waivers
    assert waivers == {"beech": ("train",) if size == 1 else ("train", "test")}
