"""Decode every photo of the manifest once, into one pixel store per split."""

from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.memory import return_large_blocks
from florafauna.base.settings import read_section
from florafauna.photos.settings import BoxParams, DataParams
from florafauna.preprocess.preprocess import preprocess
from florafauna.preprocess.settings import ImageParams

if __name__ == "__main__":
    return_large_blocks()
    with one_sentence_on_error():
        preprocess(
            Path("data/manifest.csv"),
            Path(read_section("data", DataParams).root),
            Path("data/processed"),
            read_section("image", ImageParams).store_size,
            kept=Path(".florafauna/pixels"),
            boxes=read_section("boxes", BoxParams),
        )
