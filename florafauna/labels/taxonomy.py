"""Taxonomic ranks, and the labels of camera traps that name no species."""

import pandas as pd

from florafauna.base.taxonomy import RANKS

NO_ANIMAL = {
    "blank": ("blank", "empty", "no animal", "nothing", "misfire"),
    "human": ("human", "humans", "person", "people", "homo sapiens"),
    "vehicle": ("vehicle", "car", "truck", "motorcycle"),
}
NOT_IDENTIFIED = ("unknown", "unidentified", "unidentifiable", "unclassified", "no cv result", "cv needed", "cv failed")


def set_aside_non_animals(rows: pd.DataFrame) -> pd.DataFrame:
    """Mark the rows of a camera-trap source that show no animal (`_reason` no_animal) or an unknown one (no_label).

    The label of the former becomes blank, human or vehicle, whatever the source calls it.
    """
    plain = rows["label"].str.lower().str.strip()
    kinds = {name: kind for kind, names in NO_ANIMAL.items() for name in names}
    kind = plain.map(kinds).fillna("").astype(str)
    unknown = plain.isin(NOT_IDENTIFIED)
    return rows.assign(
        _reason=kind.where(kind == "", "no_animal").mask(unknown, "no_label"),
        _detail=kind.where(kind == "", "shows " + kind + ", no animal").mask(
            unknown, "labelled '" + rows["label"] + "'"
        ),
        label=rows["label"].mask(kind != "", kind).mask(unknown, ""),
    )


def binomial(genus: pd.Series, species: pd.Series) -> pd.Series:
    """Full species names where `species` may hold the epithet alone; "" where the species is not given."""
    epithet = (species != "") & (genus != "") & ~species.str.contains(" ", regex=False)
    return species.where(~epithet, genus + " " + species)


def finest(rows: pd.DataFrame) -> pd.Series:
    """The name at the finest rank that a row gives; "" where it gives none."""
    name = pd.Series("", index=rows.index, dtype=str)
    for rank in RANKS:
        if rank in rows.columns:
            name = rows[rank].where(rows[rank] != "", name)
    return name
