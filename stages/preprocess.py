"""Decode every photo of the manifest once, into one pixel store a split."""

from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.commands.params import load_params
from florafauna.preprocess.preprocess import preprocess

if __name__ == "__main__":
    with one_sentence_on_error():
        params = load_params()
        preprocess(
            Path("data/manifest.csv"),
            Path(params.data.root),
            Path("data/processed"),
            params.image.store_size,
            kept=Path(".florafauna/pixels"),
        )
