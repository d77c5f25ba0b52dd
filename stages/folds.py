"""Cross-validate one model, if `evaluate.folds` says so: python -m stages.folds MODEL."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.split_names import SPLITS
from florafauna.crossval.crossval import CrossValidation, cross_validate
from florafauna.folds.settings import read_fold_params
from florafauna.model.settings import read_model

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        job = CrossValidation(
            name,
            read_model(name),
            read_fold_params(),
            initial=Path(f"models/initial/{name}.safetensors"),
            stores=tuple(Path(f"data/processed/{split}") for split in SPLITS),
            manifest=Path("data/manifest.csv"),
            scratch=Path(".florafauna"),
            out=Path(f"predictions/folds/{name}"),
        )
        if job.how.folds:
            from florafauna.model.launch import on_all_gpus  # torch takes seconds to import

            on_all_gpus(lambda: cross_validate(job))
        else:
            cross_validate(job)
