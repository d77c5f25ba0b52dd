"""Train one model: python -m stages.train MODEL."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.model.launch import on_all_gpus
from florafauna.model.settings import read_model
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        job = TrainingJob(
            name,
            read_model(name),
            initial=Path(f"models/initial/{name}.safetensors"),
            train=Path("data/processed/train"),
            val=Path("data/processed/val"),
            scratch=Path(".florafauna"),
            out=Path(f"models/trained/{name}"),
            timing=Path(f"metrics/timing/{name}.json"),
        )
        on_all_gpus(lambda: train(job))
