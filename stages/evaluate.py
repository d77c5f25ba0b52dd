"""Score one model on the validation and test photos: python -m stages.evaluate MODEL."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.settings import read_section
from florafauna.evaluate.evaluate import EvaluationJob, evaluate
from florafauna.model.launch import on_all_gpus
from florafauna.scores.settings import EvaluateParams

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        job = EvaluationJob(
            name,
            read_section("evaluate", EvaluateParams),
            trained=Path(f"models/trained/{name}"),
            val=Path("data/processed/val"),
            test=Path("data/processed/test"),
            folds=Path(f"predictions/folds/{name}"),
            predictions=Path(f"predictions/{name}"),
            metrics=Path(f"metrics/{name}.json"),
            details=Path(f"metrics/details/{name}.json"),
            bundle=Path(f"models/{name}"),
        )
        on_all_gpus(lambda: evaluate(job))
