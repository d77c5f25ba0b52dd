"""Taxonomic ranks, scientific names, and the labels that name no species."""

import pandas as pd

from florafauna.base.taxonomy import NO_ANIMAL, RANKS

NOT_IDENTIFIED = ("unknown", "unidentified", "unidentifiable", "unclassified", "no cv result", "cv needed", "cv failed")
# What a missing label is written as. In a table these are classes like any other; they are reported as suspects.
NO_LABEL = (*NOT_IDENTIFIED, "na", "n/a", "nan", "none", "null", "nil", "?", "??", "-", "unlabeled", "unlabelled",
            "undefined", "not set")  # fmt: skip

# A genus, perhaps with its subgenus, and an epithet, perhaps of a hybrid. What follows is a subspecies or an author.
NAME = r"^([A-Z][^\W\d_]+)(?: \([^)]*\))? ((?:[x×] ?)?[^\W\d_A-Z][^\W\d_]*(?:-[^\W\d_]+)*)(?![.\w])"
OPEN = ("sp", "spp", "ssp", "cf", "aff", "indet", "gen", "nr", "complex", "agg")  # no epithets
FAMILY = r"(?:idae|aceae)$"  # of animals and plants


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
    """Species names of genus and epithet, without subspecies; "" where the species is not given.

    `species` may be the epithet ('scrofa', 'scrofa scrofa') or the full name ('Sus scrofa'). What is neither, or has no
    genus, stays as it is.
    """
    full = pd.Series(
        [name.startswith(f"{first} ") for first, name in zip(genus, species, strict=True)], index=species.index
    )
    epithet = (species != "") & ~full & (~species.str.contains(" ", regex=False) | species.str.match(r"[^\W\d_A-Z]"))
    name = species.mask(epithet & (genus != ""), genus + " " + species).mask(species == genus, "")
    two_words = name.str.extract(r"^(\S+ (?:[x×] )?\S+)")[0].fillna("").astype(str)
    return name.mask((genus != "") & (full | epithet) & (two_words != ""), two_words)


def ranks_of_names(names: pd.Series) -> pd.DataFrame:
    """The family, genus and species that scientific names tell by their form, "" where one does not.

    'Argia apicalis' is a species; 'Argia' alone is a genus where it begins the name of a species among `names`.
    """
    plain = names.str.strip()
    parts = plain.str.extract(NAME).fillna("").astype(str)
    epithet = parts[1].mask(parts[1].isin(OPEN), "")
    first = plain.str.extract(r"^([A-Z][^\W\d_]+)")[0].fillna("").astype(str)
    is_family = first.str.contains(FAMILY)
    species = (parts[0] + " " + epithet).where((epithet != "") & ~is_family, "")
    is_genus = ~is_family & first.isin(set(first[species != ""]))
    return pd.DataFrame({"family": first.where(is_family, ""), "genus": first.where(is_genus, ""), "species": species})


def with_ranks_of_names(rows: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """The rows with what their scientific names tell of ranks that they lack, if any name is that of a species."""
    ranks = ranks_of_names(names)
    if not (ranks["species"] != "").any():
        return rows
    told = [rank for rank in ranks.columns if rank not in rows.columns and (ranks[rank] != "").any()]
    return rows.join(ranks[told])


def are_species_names(names: pd.Series) -> bool:
    """Whether most of the names that are given are those of species, genus first."""
    given = names[names != ""]
    return bool(len(given)) and bool((ranks_of_names(given)["species"] != "").mean() > 0.5)


def finest(rows: pd.DataFrame) -> pd.Series:
    """The name at the finest rank that a row gives; "" where it gives none."""
    name = pd.Series("", index=rows.index, dtype=str)
    for rank in RANKS:
        if rank in rows.columns:
            name = rows[rank].where(rows[rank] != "", name)
    return name
