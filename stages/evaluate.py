"""Score one model on validation and test photos: python -m stages.evaluate MODEL."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.commands.params import load_params
from florafauna.evaluate.evaluate import evaluate

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        evaluate(
            name,
            Path(f"models/trained/{name}"),
            val=Path("data/processed/val"),
            test=Path("data/processed/test"),
            params=load_params().evaluate,
            predictions=Path(f"predictions/{name}.parquet"),
            metrics=Path(f"metrics/{name}.json"),
            per_class=Path(f"metrics/per_class/{name}.json"),
            timing=Path(f"metrics/timing/{name}_prediction.json"),
            bundle=Path(f"models/{name}"),
        )
