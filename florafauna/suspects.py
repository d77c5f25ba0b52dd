"""Labels that look like mistakes: reported, never changed."""

import unicodedata
from collections.abc import Iterable

import pandas as pd


def canonical(label: str) -> str:
    """A label without what people do not see as a difference: case, spaces, underscores, Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


def variants(labels: Iterable[str]) -> list[list[str]]:
    """Sets of labels that differ by case, space or Unicode form alone."""
    together: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        together.setdefault(canonical(label), []).append(label)
    return [names for names in together.values() if len(names) > 1]


def seen_once(labels: pd.Series) -> list[str]:
    """Labels that a single photo has."""
    counts = labels.value_counts()
    return sorted(counts.index[counts == 1])


def mixed_clusters(table: pd.DataFrame) -> list[dict[str, list[str]]]:
    """Clusters of near-duplicates (column `cluster`) whose photos have several labels: their paths and labels."""
    clustered = table[table["cluster"] != ""]
    several = clustered.groupby("cluster")["label"].transform("nunique") > 1
    return [
        {"paths": list(rows["path"]), "labels": list(rows["label"])}
        for _, rows in clustered[several].sort_values("path").groupby("cluster")
    ]
