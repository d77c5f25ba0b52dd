"""data/examples.parquet: small pictures for the report: of duplicates, of suspects, and of what was left out."""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps

from florafauna.base.files import atomic_path
from florafauna.photos.crops import Rectangle, cut, split_name
from florafauna.photos.sources import Source
from florafauna.photos.upright import to_rgb

CLUSTERS, OF_A_CLUSTER = 12, 4  # largest first; their totals are in metrics/data.json
SUSPECTS, LABELS = 24, 4  # clusters of several labels, and labels shown of each
OF_A_REASON = 6
SIDE, QUALITY = 96, 60
Row = tuple[str, str, str, str, str, bytes]
COLUMNS = ["kind", "name", "path", "split", "label", "picture"]


def write_examples(
    path: Path,
    source: Source,
    manifest: pd.DataFrame,
    quarantine: pd.DataFrame,
    mixed: Sequence[Mapping[str, list[str]]],
) -> None:
    """Write a row a picture: kind (duplicate, suspect or quarantine), name (of the cluster or reason), WebP bytes.

    `mixed` are the paths and labels of near-duplicates with several labels, as `suspects.mixed_clusters` gives them.
    """
    rows = [*_of_clusters(source, manifest), *_of_suspects(source, manifest, mixed), *_of_reasons(source, quarantine)]
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_parquet(temporary, index=False)


def _of_clusters(source: Source, manifest: pd.DataFrame) -> list[Row]:
    copies = manifest[manifest["cluster"] != ""]
    sizes = copies["cluster"].value_counts().reset_index().sort_values(["count", "cluster"], ascending=[False, True])
    rows: list[Row] = []
    for name in sizes["cluster"].head(CLUSTERS):
        photos = copies[copies["cluster"] == name].head(OF_A_CLUSTER)
        shown = zip(photos["path"], photos["split"], photos["label"], strict=True)
        rows += [("duplicate", name, path, split, label, _picture(source, path)) for path, split, label in shown]
    return [row for row in rows if row[-1]]


def _of_suspects(source: Source, manifest: pd.DataFrame, mixed: Sequence[Mapping[str, list[str]]]) -> list[Row]:
    """One photo of each label of a cluster, side by side."""
    needed = {path for found in mixed[:SUSPECTS] for path in found["paths"]}
    by_path = manifest[manifest["path"].isin(needed)].set_index("path")
    rows: list[Row] = []
    for found in mixed[:SUSPECTS]:
        shown = pd.DataFrame(found).drop_duplicates("labels").head(LABELS)
        known = by_path.loc[shown["paths"]]
        columns = zip(known["cluster"], shown["paths"], known["split"], shown["labels"], strict=True)
        rows += [("suspect", name, path, split, label, _picture(source, path)) for name, path, split, label in columns]
    return [row for row in rows if row[-1]]


def _of_reasons(source: Source, quarantine: pd.DataFrame) -> list[Row]:
    rows: list[Row] = []
    for reason, files in quarantine.groupby("reason", sort=True):
        named = zip(files["path"], files["label"], strict=True)
        pictures = (("quarantine", str(reason), path, "", label, _picture(source, path)) for path, label in named)
        rows += islice((row for row in pictures if row[-1]), OF_A_REASON)
    return rows


def _picture(source: Source, path: str) -> bytes:
    """WebP of at most SIDE pixels a side; nothing where the file is not a whole picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file, box = split_name(path)
            with Image.open(BytesIO(source.read(file))) as image:
                if box.replace(",", "").isdigit():
                    picture, _ = cut(image, Rectangle.parse(box), SIDE)
                else:
                    image.draft(None, (2 * SIDE, 2 * SIDE))
                    picture = to_rgb(ImageOps.exif_transpose(image))
    except Exception:  # what cannot be read is in the quarantine with its reason; it only has no picture
        return b""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    encoded = BytesIO()
    picture.save(encoded, "WEBP", quality=QUALITY)
    return encoded.getvalue()
