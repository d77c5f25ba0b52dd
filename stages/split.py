"""Audit the labelled photos, group them and split them: manifest, quarantine, counts, places."""

from pathlib import Path

from florafauna.audit.audit import CACHE
from florafauna.base.errors import one_sentence_on_error
from florafauna.commands.params import load_params
from florafauna.split.corrections import CORRECTIONS
from florafauna.split.dataset import prepare
from florafauna.split.kept_places import PLACES

if __name__ == "__main__":
    with one_sentence_on_error():
        params = load_params()
        dataset = prepare(params.data, params.split, CORRECTIONS, PLACES, CACHE)
        dataset.write(
            Path("data/manifest.csv"),
            Path("data/quarantine.csv"),
            Path("data/examples.parquet"),
            Path("metrics/data.json"),
            PLACES,
        )
