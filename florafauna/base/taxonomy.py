"""The ranks of a taxonomy, and the taxa that each class belongs to."""

import pyarrow as pa

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
ABOVE_SPECIES = RANKS[:-1]
# What labels of camera-trap photos without an animal are called
NO_ANIMAL = {
    "blank": ("blank", "empty", "no animal", "nothing", "misfire"),
    "human": ("human", "humans", "person", "people", "homo sapiens"),
    "vehicle": ("vehicle", "car", "truck", "motorcycle"),
}
AGREEING = 0.9  # share of a class's photos that must name the same taxon: a corrected label keeps its old ranks


def ancestors_of(photos: pa.Table) -> dict[str, dict[str, str]]:
    """For each label its taxon at every rank above its own, {"Parus major": {"family": "Paridae", "genus": "Parus"}}.

    `photos` has the text columns `label` and any of RANKS, "" where the rank is unknown. Left out are a rank on which
    the photos of a class disagree, the rank of the labels themselves, and all finer ones.
    """
    found: dict[str, dict[str, str]] = {label: {} for label in sorted(photos["label"].unique().to_pylist())}
    for rank in ABOVE_SPECIES:
        taxa = _agreed(photos, rank) if rank in photos.column_names else {}
        if taxa and all(label == taxon for label, taxon in taxa.items()):
            break
        for label, taxon in taxa.items():
            found[label][rank] = taxon
    return found


def _agreed(photos: pa.Table, rank: str) -> dict[str, str]:
    """For each label the taxon on which nearly all of its photos agree, of those that name one."""
    counts = photos.select(["label", rank]).group_by(["label", rank]).aggregate([([], "count_all")]).to_pandas()
    counts = counts[counts[rank] != ""].sort_values("count_all", kind="stable")
    photos_of = counts.groupby("label")["count_all"].transform("sum")
    agreed = counts[counts["count_all"] >= AGREEING * photos_of]
    return dict(zip(agreed["label"], agreed[rank], strict=True))
