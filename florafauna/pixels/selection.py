"""A selection of stored photos: an index of its own over the shards of other stores. No pixel is copied."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.files import atomic_path
from florafauna.base.texts import AT_ONCE
from florafauna.pixels.store import PixelStore, metadata_checksum


def write_selection(stores: Sequence[PixelStore], chosen: np.ndarray, folder: Path) -> None:
    """Write to `folder` the index of some photos of one or several stores of the same classes: a store to be opened.

    `chosen` is boolean (photos of all stores, in their order). What is selected from a single store knows it as its
    `whole`, so that what was remembered of all its photos serves every selection.
    """
    tables = [pq.read_table(store.folder / "index.parquet", use_threads=False) for store in stores]
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    table = table.filter(pa.array(chosen)).sort_by("path")
    first = stores[0].metadata
    metadata = {key: first[key] for key in ("labels", "store_size", "decoder")}
    homes = [home.as_posix() for store in stores for home in store.homes]
    metadata |= {"homes": json.dumps(homes)} | ({"whole": stores[0].folder.as_posix()} if len(stores) == 1 else {})
    table = table.replace_schema_metadata(metadata | {"checksum": metadata_checksum(metadata)})
    with atomic_path(folder / "index.parquet") as temporary:
        pq.write_table(table, temporary, row_group_size=AT_ONCE, write_page_checksum=True)
