"""Audit the labelled photos, group them and split them: manifest, quarantine, counts, places."""

from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.memory import return_large_blocks
from florafauna.base.settings import read_section
from florafauna.folds.settings import read_fold_params
from florafauna.photos.settings import BoxParams, DataParams
from florafauna.split.dataset import prepare
from florafauna.split.settings import SplitParams

if __name__ == "__main__":
    return_large_blocks()
    with one_sentence_on_error():
        places = Path("data/places.csv")
        dataset = prepare(
            read_section("data", DataParams),
            read_section("split", SplitParams),
            Path("data/corrections.csv"),
            places,
            cache=Path(".florafauna/audit"),
            boxes=read_section("boxes", BoxParams),
            by=read_fold_params().by,
        )
        dataset.write(
            Path("data/manifest.csv"),
            Path("data/quarantine.csv"),
            Path("data/examples.parquet"),
            Path("metrics/data.json"),
            places,
        )
