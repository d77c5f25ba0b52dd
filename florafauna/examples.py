"""data/examples.parquet: small pictures of what the split found, for the report: duplicates, and what was left out."""

import warnings
from io import BytesIO
from itertools import islice
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps

from florafauna.files import atomic_path
from florafauna.rgb import to_rgb
from florafauna.sources import Source

CLUSTERS, OF_A_CLUSTER = 12, 4  # largest first; their totals are in metrics/data.json
OF_A_REASON = 6
SIDE, QUALITY = 96, 60
Row = tuple[str, str, str, str, str, bytes]
COLUMNS = ["kind", "name", "path", "split", "label", "picture"]


def write_examples(path: Path, source: Source, manifest: pd.DataFrame, quarantine: pd.DataFrame) -> None:
    """Write a row a picture: kind (duplicate or quarantine), name (of the cluster or reason), and WebP bytes."""
    rows = [*_of_clusters(source, manifest), *_of_reasons(source, quarantine)]
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


def _of_reasons(source: Source, quarantine: pd.DataFrame) -> list[Row]:
    rows: list[Row] = []
    for reason, files in quarantine.groupby("reason", sort=True):
        named = zip(files["path"], files["label"], strict=True)
        pictures = (("quarantine", str(reason), path, "", label, _picture(source, path)) for path, label in named)
        rows += islice((row for row in pictures if row[-1]), OF_A_REASON)
    return rows


def _picture(source: Source, path: str) -> bytes:
    """WebP of at most SIDE pixels a side; nothing where the file is no whole picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(source.read(path))) as file:
                file.draft(None, (2 * SIDE, 2 * SIDE))
                picture = to_rgb(ImageOps.exif_transpose(file))
    except Exception:  # what cannot be read is in the quarantine with its reason; it only has no picture
        return b""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    encoded = BytesIO()
    picture.save(encoded, "WEBP", quality=QUALITY)
    return encoded.getvalue()
