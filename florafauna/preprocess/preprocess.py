"""The preprocess stage: the photos of a manifest, decoded once, into a pixel store for each split."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from florafauna.base.errors import UserError
from florafauna.base.split_names import SPLITS
from florafauna.base.tables import mapped_table, spilled
from florafauna.base.taxonomy import ABOVE_SPECIES, ancestors_of
from florafauna.photos.crops import Rectangle, content_of, name_of, split_name
from florafauna.photos.settings import WHOLE_PHOTOS, BoxParams
from florafauna.photos.sources import open_source
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._photos import write_photos
from florafauna.preprocess._write import COLUMNS, build_store
from florafauna.preprocess.decode import decoder, stored_box

NUMBERS = dict.fromkeys(["target", "width", "height"], pa.int64())
TYPES = dict.fromkeys([*COLUMNS, "split"], pa.string()) | NUMBERS
STORED = [name for name in TYPES if name != "split"]
# Columns that a manifest may have
OF_CROPS = ("box", "crop")
OF_TEST = (*OF_CROPS, "boxes", "sequence", "location")


def preprocess(
    manifest: Path,
    root: Path,
    out: Path,
    store_size: int,
    kept: Path,
    workers: int | None = None,
    boxes: BoxParams = WHOLE_PHOTOS,
) -> int:
    """Write `out`/train, val and test; returns how many photos had to be decoded.

    `kept` outlives the stage's outs and holds the last stores, whose unchanged photos are not decoded again. `boxes` is
    said in the test store, where the manifest has boxes, so that a bundle can say how its photos were cut.

    >>> manifest, root, out = Path("data/manifest.csv"), Path("data/raw"), Path("data/processed")  # doctest: +SKIP
    >>> preprocess(manifest, root, out, store_size=256, kept=Path(".florafauna/pixels"))  # doctest: +SKIP
    """
    photos = _read(manifest, kept)
    classes = photos.group_by("target").aggregate([("label", "min"), ("label", "max")]).sort_by("target")
    labels = classes["label_min"].to_pylist()
    if labels != classes["label_max"].to_pylist() or classes["target"].to_pylist() != list(range(len(labels))):
        raise _damaged(manifest, "not every target has one label")
    taxa = ancestors_of(photos)
    source, decoded = open_source(root), 0
    with KeptPixels(kept, decoder(), store_size) as known:
        for split in SPLITS:
            # in the test store alone: a corrected taxonomy or another site's name must not train models anew
            also = OF_TEST if split == "test" else OF_CROPS
            columns = [*STORED, *(name for name in also if name in photos.column_names)]
            rows = spilled(partial(_rows_of, photos, split, columns, store_size), kept)
            if split == "test" and "crop" in rows.columns:
                rows = _in_events(rows)
            facts = {}
            if split == "test" and any(taxa.values()):
                facts["ancestors"] = json.dumps([taxa[label] for label in labels])
            if split == "test" and {"crop", "boxes"} & set(rows.columns):
                facts["boxes"] = boxes.model_dump_json()
            decoded += build_store(rows, labels, source, out / split, store_size, known, workers, facts)
            if split == "test" and "crop" in rows.columns:
                write_photos(out / split, rows["path"], source, workers)
            known.keep(out / split)
    print(f"preprocess: {len(photos)} photos, {decoded} decoded, {len(photos) - decoded} as before", flush=True)
    return decoded


def _rows_of(photos: pa.Table, split: str, columns: list[str], store_size: int) -> Iterator[pd.DataFrame]:
    """The rows of one split, in parts."""
    for batch in photos.to_batches() or [photos]:
        yield _named(batch.filter(pc.equal(batch["split"], split)).select(columns).to_pandas(), store_size)


def _named(rows: pd.DataFrame, store_size: int) -> pd.DataFrame:
    """Rows with crops under a name and a SHA-256 of their own; boxes of whole photos as they lie in stored pixels."""
    if "boxes" in rows.columns:
        sizes = zip(rows["boxes"], rows["width"].tolist(), rows["height"].tolist(), strict=True)
        rows = rows.assign(boxes=[_stored_boxes(*row, store_size) for row in sizes])
    if "box" not in rows.columns:
        return rows
    names = [name_of(path, box) for path, box in zip(rows["path"], rows["box"], strict=True)]
    contents = [content_of(sha256, crop) for sha256, crop in zip(rows["sha256"], rows["crop"], strict=True)]
    return rows.drop(columns="box").assign(path=names, sha256=contents)


def _in_events(rows: pd.DataFrame) -> pd.DataFrame:
    """Crops of one photo as a sequence where none is known, since they are answered together."""
    files = pd.Series([split_name(name)[0] for name in rows["path"]], index=rows.index, dtype=str)
    return rows.assign(sequence=rows["sequence"].where(rows["sequence"] != "", files) if "sequence" in rows else files)


def _stored_boxes(texts: str, width: int, height: int, store_size: int) -> str:
    found = (stored_box(Rectangle.parse(text), width, height, store_size) for text in texts.split())
    return " ".join(box.text for box in found if box is not None)


def _read(manifest: Path, folder: Path) -> pa.Table:
    """The columns needed; `folder` is for temporary files. `open_csv` has few rows in memory at a time."""
    try:
        present = _columns(manifest)
        columns = TYPES | {name: pa.string() for name in (*OF_TEST, *ABOVE_SPECIES) if name in present}
        with csv.open_csv(
            manifest,
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=columns, include_columns=list(columns), strings_can_be_null=False
            ),
        ) as rows:
            photos = mapped_table(rows, rows.schema, folder)
    except FileNotFoundError:
        raise UserError(f"{manifest} is missing; run `dvc repro split`.") from None
    except (ValueError, KeyError) as error:  # Arrow's and pandas's errors are among them
        raise _damaged(manifest, str(error).splitlines()[0]) from None
    unknown = photos.filter(pc.invert(pc.is_in(photos["split"], pa.array(SPLITS))))
    if len(unknown):
        raise _damaged(manifest, f"it has a split '{unknown['split'][0]}'")
    return photos


def _damaged(manifest: Path, what: str) -> UserError:
    return UserError(
        f"{manifest} is not as the split stage wrote it ({what}); delete it and DVC's copy (in .dvc/cache, below the "
        "md5 that dvc.lock says), which may be damaged too, and run `dvc repro`."
    )


def _columns(manifest: Path) -> list[str]:
    return list(pd.read_csv(manifest, nrows=0).columns)
