"""Labels that contradict each other, which take photos out, and those that look like mistakes, which do not."""

import unicodedata
from collections.abc import Iterable

import pandas as pd

from florafauna.base.suspicions import with_labels
from florafauna.base.tables import repeated
from florafauna.labels.taxonomy import NO_LABEL

NAMED = 4  # files in a sentence


def canonical(label: str) -> str:
    """A label without what people do not see as a difference: case, spaces, underscores, Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


def variants(labels: Iterable[str]) -> list[list[str]]:
    """Sets of labels that differ by case, space or Unicode form alone."""
    together: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        together.setdefault(canonical(label), []).append(label)
    return [names for names in together.values() if len(names) > 1]


def look_like_none(labels: Iterable[str]) -> list[str]:
    """Labels that say that there is none: NA, ?, unknown."""
    return sorted({label for label in labels if label.strip().lower() in NO_LABEL})


def seen_once(labels: pd.Series) -> list[str]:
    """Labels that a single photo has."""
    counts = labels.value_counts()
    return sorted(counts.index[counts == 1])


def mixed_clusters(table: pd.DataFrame) -> list[dict[str, list[str]]]:
    """Clusters of near-duplicates (column `cluster`) whose photos have several labels: their paths and labels.

    Photos whose label is `confirmed` are left out: whoever corrects or confirms a label has looked at the others.
    """
    open_ = table[(table["cluster"] != "") & ~table["confirmed"]]
    several = open_.groupby("cluster")["label"].transform("nunique") > 1
    return [
        {"paths": list(rows["path"]), "labels": list(rows["label"])}
        for _, rows in open_[several].sort_values("path").groupby("cluster")
    ]


def label_conflicts(table: pd.DataFrame) -> pd.Series:
    """For each photo whose `picture` has several labels a sentence that names the files; "" for the others."""
    detail = pd.Series("", index=table.index, dtype=object)
    alike = table[repeated(table["picture"])]
    clash = alike.groupby("picture")["label"].transform("nunique") > 1
    for _, rows in alike[clash].sort_values("path").groupby("picture"):
        what = "file" if rows["sha256"].nunique() == 1 else "picture"
        named = with_labels(rows["path"], rows["label"])
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        detail[rows.index] = f"the same {what} under several labels: {' and '.join(named[:NAMED])}{more}"
    return detail
