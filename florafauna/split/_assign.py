"""The split of every photo: given by the source, held out, or by its group; and what has to be taken out for it."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import SPLITS
from florafauna.base.tables import repeated, rows_where
from florafauna.split._stratify import crossing, stratify, waivers
from florafauna.split.kept_places import KeptPlaces, drawn_with, kept_from_splits, match
from florafauna.split.settings import SplitParams

NAMED = 5  # locations named in a sentence


@dataclass(frozen=True)
class Assigned:
    """`table` with `split` and `held_out`; classes that lack a split; the places that were drawn, for later runs."""

    table: pd.DataFrame
    waivers: dict[str, tuple[str, ...]]
    places: KeptPlaces
    notes: tuple[str, ...]


def assign(
    table: pd.DataFrame, params: SplitParams, groups: tuple[str, ...], kept: KeptPlaces | None = None
) -> Assigned:
    """The split of every photo. `groups` are the columns that joined the photos, `kept` the places of the last run.

    Held-out photos come first, then the split that the source gives, which a group follows as a whole; then kept
    places, unless they were drawn with other settings; the other groups are drawn.
    """
    held_out = held_out_photos(table, params)
    given, notes = given_split(table, params)
    unclear = _of_unclear_date(table[held_out == ""], params.after) if params.after is not None else ()
    inside = held_out == ""
    _refuse_one_class(table.loc[inside, "label"])
    given = given.mask(~inside, "test")
    has_test = bool((given[inside] == "test").any())
    drawn = inside & ~table["key"].isin(table.loc[inside & (given != ""), "key"])
    settings = drawn_with(groups, params)
    known, more = match(kept, table, drawn, settings)
    split = given.copy()
    if (inside & (given == "")).any():
        decided = stratify(
            table.loc[inside, "label"],
            table.loc[inside, "key"],
            params.val,
            0.0 if has_test else params.test,  # the user's own test set stays as it is
            params.seed,
            given[inside].where(given[inside] != "", known[inside]),
        )
        split[inside] = given[inside].where(given[inside] != "", decided.split)
    assigned = table.assign(split=split, held_out=held_out)
    return Assigned(
        assigned,
        waivers(table.loc[inside, "label"], split[inside]),
        KeptPlaces.of(settings, table.loc[drawn, "sha256"], split[drawn]),
        (*notes, *unclear, *more, *kept_from_splits(table.loc[inside, ["label", "key"]], split[inside], known)),
    )


def held_out_photos(table: pd.DataFrame, params: SplitParams) -> pd.Series:
    """`location` or `time` for photos of the second test set; whole groups, since nothing crosses."""
    held_out = pd.Series("", index=table.index)
    if params.after is not None:
        late = _is_late(table["datetime"], params.after)
        held_out = held_out.mask(table["key"].isin(table.loc[late, "key"]), "time")
    if params.held_out_locations:
        unknown = sorted(set(params.held_out_locations) - set(table["location"]))
        if unknown:
            raise UserError(
                f"split.held_out_locations: no photo has the location '{unknown[0]}'; "
                f"locations are {', '.join(sorted(set(table['location']) - {''})[:NAMED])}, …."
            )
        there = table["location"].isin(params.held_out_locations)
        held_out = held_out.mask(table["key"].isin(table.loc[there, "key"]), "location")
    if (held_out != "").all():
        raise UserError(
            "split.after and split.held_out_locations leave no photo to train on: every group has held-out photos; "
            "take the column that joins them out of data.groups."
        )
    return held_out


def _is_late(moments: pd.Series, after: date) -> pd.Series:
    """Whether photos are certainly of the day `after` or later; a year or month alone counts by its first day."""
    days = moments.str[:10]
    first = (days + "-01-01").str[:10]  # of 2020 and 2020-05
    return (days != "") & (first >= after.isoformat())


def _of_unclear_date(table: pd.DataFrame, after: date) -> tuple[str, ...]:
    """A note on photos that may be later than is known."""
    days = table["datetime"].str[:10]
    last = days.mask(days.str.len() == 4, days + "-12-31").mask(days.str.len() == 7, days + "-31")
    unclear = ((days == "") | (last >= after.isoformat())) & ~_is_late(table["datetime"], after)
    if not unclear.any():
        return ()
    return (f"{unclear.sum()} photos have no date that says whether they are earlier than {after}, and are taken so",)


def given_split(table: pd.DataFrame, params: SplitParams) -> tuple[pd.Series, tuple[str, ...]]:
    """The split that the source gives ("" where it gives none), and what was made of it.

    Without a test set val is the test set; without a val set photos are taken out of train for it.
    """
    if "split" not in table.columns or not (table["split"] != "").any():
        return pd.Series("", index=table.index), ()
    given = table["split"]
    if "train" not in set(given) and "" not in set(given):
        raise UserError("the split column has no train photos; name the split of every photo, or remove the column.")
    notes = []
    if "test" not in set(given):
        given = given.replace("val", "test")
        notes.append("the source has no test split: its val is the test set")
    if "val" not in set(given):
        given = given.replace("train", "")
        notes.append(f"the source has no val split: {params.val:.0%} of its train groups are taken for it")
    return given, tuple(notes)


def _refuse_one_class(labels: pd.Series) -> None:
    if labels.nunique() < 2:
        raise UserError(f"all {len(labels)} photos have the label '{labels.iloc[0]}'; classifying takes two classes.")


def without_leaks(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A split that the source gives is kept, but photos of a group that is also chosen by or tested on do not train."""
    order = table["split"].map({"train": 0, "val": 1, "test": 2})
    several = repeated(table["key"])
    last = order.copy()
    last[several] = order[several].groupby(table["key"][several]).transform("max")
    leak = order < last
    leaks = table[leak]
    if leaks.empty:
        return table, leaks.assign(reason="", detail="")
    order = order[table["key"].isin(leaks["key"])].sort_values(ascending=False, kind="stable")
    other = table.loc[order.index].groupby("key")[["path", "split"]].first()
    path, split = (leaks["key"].map(other[name]) for name in ("path", "split"))
    detail = "its split is " + leaks["split"] + ", but that of " + path + ", of the same group, is " + split
    return rows_where(table, ~leak).reset_index(drop=True), leaks.assign(reason="leak", detail=detail)


def without_untrained(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Photos of classes that no training photo shows (by the source's split or at new sites) cannot be recognised."""
    trained = set(table.loc[table["split"] == "train", "label"])
    alien = ~table["label"].isin(trained)
    gone = table[alien].assign(reason="not_trained", detail="no photo of its class is left to train on")
    return rows_where(table, ~alien).reset_index(drop=True), gone


def assert_apart(table: pd.DataFrame) -> None:
    for column in ("key", "cluster", "sha256"):
        named = table[table[column] != ""]
        across = crossing(named["split"], named[column])
        if across:
            raise AssertionError(f"{column} {across[0]} lies in several splits")
    empty = [name for name in SPLITS if not ((table["split"] == name) & (table["held_out"] == "")).any()]
    if empty:
        raise UserError(
            f"no photo is left for {' and '.join(empty)}; raise split.val or split.test, "
            "or join fewer photos by data.groups."
        )
