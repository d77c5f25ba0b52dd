"""Large tables: what takes less memory than pandas's own way gives the same."""

from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from florafauna.base import tables
from florafauna.base.tables import numbered, parts_of, repeated, rows_where, sorted_by, spilled

TEXTS = st.lists(st.text(st.sampled_from("aé\U0001f98a"), max_size=2), max_size=9)


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 3)


def table(texts: list[str]) -> pd.DataFrame:
    numbers = np.arange(len(texts))
    return pd.DataFrame({"text": pd.array(texts, dtype="str"), "number": numbers, "even": numbers % 2 == 0})


@given(TEXTS, st.randoms(use_true_random=False))
def test_what_is_spilled_and_sorted_is_the_same(texts: list[str], random: Random) -> None:
    whole = table(texts)
    pd.testing.assert_frame_equal(spilled(partial(parts_of, whole)), whole)
    chosen = np.array([random.random() < 0.5 for _ in texts], dtype=bool)
    some = spilled(partial(parts_of, whole, chosen))
    pd.testing.assert_frame_equal(some, whole[chosen].reset_index(drop=True))
    pd.testing.assert_frame_equal(rows_where(whole, chosen), whole[chosen])
    for each in (whole, some, sorted_by(whole, "text")):
        expected = each.sort_values("text", ignore_index=True, kind="stable")
        pd.testing.assert_series_equal(sorted_by(each, "text")["text"], expected["text"])


@given(TEXTS)
def test_repeated_and_numbered_texts(texts: list[str]) -> None:
    values = table(texts)["text"]
    assert list(repeated(values)) == list(values.duplicated(keep=False))
    for each in (values, spilled(partial(parts_of, table(texts)))["text"]):
        numbers, names = numbered(each)
        assert list(names) == sorted(set(texts))
        assert [names[number] for number in numbers] == texts


def test_a_spilled_table_can_be_changed_and_leaves_no_file(tmp_path: Path) -> None:
    whole = table(["b", "a", "c", "d"])
    found = spilled(partial(parts_of, whole), tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []
    found.loc[found["text"] == "a", ["text", "number"]] = ["z", 9]
    assert found["text"].tolist() == ["b", "z", "c", "d"]
    assert found["number"].tolist() == [0, 9, 2, 3]
    assert whole["number"].tolist() == [0, 1, 2, 3]
