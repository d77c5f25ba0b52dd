"""data/places.csv: read as it was written, refused in one sentence where it was not; which photos it holds."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from florafauna.base.errors import UserError
from florafauna.split._assign import Assigned, assign
from florafauna.split.kept_places import DIGITS, KeptPlaces, drawn_with, read_places
from florafauna.split.settings import SplitParams

PHOTO = "0" * DIGITS
SETTINGS = drawn_with(("site",), SplitParams())
TEXT = f"# {json.dumps(SETTINGS)}\nsha256,split\n{PHOTO},test\n{'1' * DIGITS},train\n"


def photos(count: int, **columns: list[str]) -> pd.DataFrame:
    """Lone photos of two classes in turn."""
    sha256 = [f"{number:064x}"[::-1] for number in range(count)]
    table = pd.DataFrame({"label": (["ash", "beech"] * count)[:count], "sha256": sha256, "key": sha256})
    return table.assign(**columns)


def placed(table: pd.DataFrame, kept: KeptPlaces | None = None, **changes: object) -> Assigned:
    return assign(table, SplitParams.model_validate(changes), (), kept)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=DIGITS, max_size=DIGITS),
                       st.sampled_from(["train", "val", "test"])), st.integers(), st.text())  # fmt: skip
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, split: dict[str, str], seed: int, column: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "places.csv"
    settings = drawn_with((column,), SplitParams(seed=seed))
    photos, known = (pd.Series(list(values), dtype=str) for values in (split, split.values()))
    KeptPlaces.of(settings, photos, known).write(path)
    written = path.read_bytes()
    for _ in range(2):
        places = read_places(path)
        assert places is not None
        assert places.drawn_with == settings
        assert len(places.photos) == len(split)
        assert list(places.split_of(photos)) == list(known)
        assert places.split_of(pd.Series(["f" * DIGITS])).item() == split.get("f" * DIGITS, "")
        path.write_bytes(b"\xef\xbb\xbf" + written.replace(b"\n", b"\r\n"))  # as Windows may leave it


def test_the_file_is_as_it_was_written_before(tmp_path: Path) -> None:
    photos = pd.Series(["1" * 64, "0" * 64])
    KeptPlaces.of(SETTINGS, photos, pd.Series(["train", "test"])).write(tmp_path / "places.csv")
    assert (tmp_path / "places.csv").read_text() == TEXT


def test_without_a_file_there_are_no_places(tmp_path: Path) -> None:
    assert read_places(tmp_path / "places.csv") is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace("sha256,split\n", "sha256,split\n<<<<<<< HEAD\n"), "line 3 is '<<<<<<< HEAD'"),
        (lambda text: text + f"{PHOTO},tset\n", "0,tset', not 16 digits"),
        (lambda text: text + f"{PHOTO},val\n", "into val and an earlier one into test"),
        (lambda text: text.partition("\n")[2], "does not begin with"),
        (lambda text: text.replace('"seed"', "seed"), "no settings"),
        (lambda text: "", "does not begin with"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: Callable[[str], str], words: str) -> None:
    path = tmp_path / "places.csv"
    path.write_text(damage(TEXT))
    with pytest.raises(UserError) as raised:
        read_places(path)
    assert str(path) in str(raised.value)
    assert words in str(raised.value)
    assert "delete it" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match="cannot be read"):
        read_places(tmp_path / "places.csv")


@pytest.mark.parametrize("changes", [{"seed": 1}, {"val": 0.3}, {"test": 0.3}])
def test_another_setting_draws_all_anew(changes: dict[str, float]) -> None:
    table = photos(60)
    first = placed(table)
    again = placed(table, first.places, **changes)
    assert list(again.table["split"]) == list(placed(table, **changes).table["split"])
    assert list(again.table["split"]) != list(first.table["split"])
    assert any("drawn anew" in note and next(iter(changes)) in note for note in again.notes)


def test_other_group_columns_draw_all_anew() -> None:
    """Else nearly every group of the new column would hold an earlier test photo, and all of them were tested on."""
    table = photos(60)
    lone = placed(table)
    joined = table.assign(key=[f"site={number // 10}" for number in range(60)])
    again = assign(joined, SplitParams(), ("site",), lone.places)
    assert set(again.table["split"]) == {"train", "val", "test"}
    assert any("data.groups changed" in note for note in again.notes)


def test_places_that_meet_in_a_group_go_to_test_before_val_before_train() -> None:
    table = photos(60)
    first = placed(table)
    split = first.table["split"]
    pick = {name: split.index[split == name] for name in ("train", "val", "test")}
    key = table["key"].copy()
    key[[pick["train"][0], pick["val"][0], pick["test"][0]]] = "burst=1"
    key[[pick["train"][1], pick["val"][1]]] = "burst=2"
    again = placed(table.assign(key=key), first.places)
    assert set(again.table["split"][key == "burst=1"]) == {"test"}
    assert set(again.table["split"][key == "burst=2"]) == {"val"}
    assert list(again.table["split"][key == table["key"]]) == list(split[key == table["key"]])
    assert any("2 groups join photos" in note and "burst=1" in note for note in again.notes)
    assert not any("join photos" in note for note in placed(table.assign(key=key), again.places).notes)


def test_what_the_user_decides_is_no_place() -> None:
    """Neither given splits, with the groups that follow them, nor held-out photos are among the places."""
    table = photos(80, split=["test"] * 10 + ["train"] * 10 + [""] * 60, location=["far"] * 0 + ["near"] * 80)
    table.loc[75:, "location"] = "far"
    table.loc[20, "key"] = table.loc[0, "key"]
    result = placed(table.assign(split=table["split"].mask(table.index == 15, "val")), held_out_locations=["far"])
    drawn = result.table.index[21:75]
    kept = result.places.split_of(table["sha256"])
    assert list(kept[drawn]) == list(result.table["split"][drawn])
    assert (kept.drop(drawn) == "").all()
    assert result.table.loc[20, "split"] == "test"


def test_a_split_that_is_given_later_wins_over_a_place() -> None:
    table = photos(60)
    first = placed(table)
    moved = first.table.index[first.table["split"] == "train"][0]
    given = pd.Series("", index=table.index)
    given[moved] = "test"
    given[first.table.index[first.table["split"] == "val"][0]] = "val"
    again = placed(table.assign(split=given), first.places)
    assert again.table.loc[moved, "split"] == "test"
    assert any("1 photos follow the split that is given" in note for note in again.notes)
    others = table.index != moved
    assert list(again.table["split"][others]) == list(first.table["split"][others])


def test_a_class_that_earlier_places_leave_out_is_named() -> None:
    table = photos(60)
    first = placed(table)
    trained = first.table.index[first.table["split"] == "train"][:4]
    again = placed(table.assign(label=table["label"].mask(table.index.isin(trained), "cedar")), first.places)
    assert again.waivers == {"cedar": ("train",)}
    assert any("cedar" in note and "delete data/places.csv" in note for note in again.notes)
