"""metrics/data.json: what became of every photo, in counts that add up."""

from typing import Any

import pandas as pd

from florafauna.base.split_names import SPLITS
from florafauna.base.tables import repeated
from florafauna.split._stratify import crossing, shares
from florafauna.split._suspects import look_like_none, mixed_clusters, seen_once, variants
from florafauna.split.corrections import MODEL, PERSON

FACTS = ("photos", "classes", "imbalance", "splits", "shares", "groups", "bursts", "boxes", "duplicates", "crossing",
         "quarantine", "suspects", "corrected", "waivers", "leaks", "format", "per_class")  # fmt: skip


def facts_of_dataset(
    form: str,
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    waivers: dict[str, tuple[str, ...]],
    labels_as_read: pd.Series,
    leaky: list[str],
) -> dict[str, Any]:
    """metrics/data.json. `photos.input` = used + quarantined, in all and by class."""
    of_photos = facts_of_photos(form, table, quarantine, labels_as_read)
    inside = table.loc[table["held_out"] == "", "split"]
    per_split = pd.crosstab(table["label"], table["split"].where(table["held_out"] == "", "held_out"))
    of_split = {
        "splits": {name: int((inside == name).sum()) for name in SPLITS}
        | ({"held_out": len(table) - len(inside)} if len(inside) < len(table) else {}),
        "shares": {name: round(share, 4) for name, share in shares(inside).items()},
        "waivers": {label: list(got) for label, got in sorted(waivers.items())},
        "leaks": leaky,
        "crossing": {  # the proof that nothing crosses: how many lie in more than one split
            name: len(crossing(table.loc[table[column] != "", "split"], table.loc[table[column] != "", column]))
            for name, column in (("groups", "group"), ("duplicates", "cluster"), ("contents", "sha256"))
        },
        "per_class": {
            label: counts
            | {
                name: int(per_split.loc[label, name]) if label in per_split.index else 0
                for name in (*SPLITS, "held_out")
                if name in per_split.columns
            }
            for label, counts in of_photos["per_class"].items()
        },
    }
    merged = of_photos | of_split
    return {name: merged[name] for name in FACTS if name in merged}


def facts_of_photos(
    form: str, table: pd.DataFrame, quarantine: pd.DataFrame, labels_as_read: pd.Series
) -> dict[str, Any]:
    """Those of `facts_of_dataset` that need no split."""
    out = quarantine[quarantine["label"] != ""]["label"].value_counts()
    counts = table["label"].value_counts()
    classes = sorted(set(counts.index) | set(out.index))
    groups = table.loc[table["group"] != "", "group"]
    burst = table["_burst"] != ""
    clusters = table.loc[(table["cluster"] != "") & table["cluster"].duplicated(keep=False), "cluster"]
    return {
        "photos": {
            "input": len(table) + len(quarantine),
            "used": len(table),
            "quarantined": len(quarantine),
            "without_label": len(quarantine) - int(out.sum()),  # quarantined, and in no row of per_class
        },
        "classes": int(table["label"].nunique()),
        "imbalance": round(float(counts.max() / counts.min()), 2) if len(counts) else None,
        "groups": {"named": int(groups.nunique()), "photos": len(groups)},
        "bursts": {"joined": int(table.loc[burst, "_burst"].nunique()), "photos": int(burst.sum())},
        **_boxes(table),
        "duplicates": {
            "clusters": int(clusters.nunique()),
            "photos": len(clusters),
            "exact": int(repeated(table["picture"]).sum()),
        },
        "quarantine": {str(k): v for k, v in sorted(quarantine["reason"].value_counts().items())},
        "suspects": {
            "seen_once": seen_once(labels_as_read),
            "look_like_none": look_like_none(labels_as_read.unique()),
            "spelling": variants(labels_as_read),
            "near_duplicates_with_other_labels": mixed_clusters(table),
            "extension_is_not_the_format": sorted(table.loc[~table["extension_matches"].astype(bool), "path"]),
        },
        "corrected": {
            "by_a_person": int((table["corrected"] == PERSON).sum()),
            "on_a_models_advice": sorted(table.loc[table["corrected"] == MODEL, "path"]),
        },
        "format": form,
        "per_class": {
            label: {
                "input": int(counts.get(label, 0) + out.get(label, 0)),
                "used": int(counts.get(label, 0)),
                "quarantined": int(out.get(label, 0)),
            }
            for label in classes
        },
    }


def _boxes(table: pd.DataFrame) -> dict[str, Any]:
    """How many boxes there are and how many photos without any, where boxes are known."""
    if "crop" not in table.columns and "boxes" not in table.columns:
        return {}
    use, texts = ("crop", table["box"]) if "crop" in table.columns else ("whole", table["boxes"])
    count = int(texts.str.count(" ").sum()) + int((texts != "").sum())
    return {"boxes": {"use": use, "boxes": count, "photos_without": int((texts == "").sum())}}
