"""Run a frozen backbone over the training and validation photos: python -m stages.screen_features BACKBONE."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.screen.features import FeaturesJob, write_features
from florafauna.screen.settings import read_backbone

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        write_features(
            FeaturesJob(
                name,
                read_backbone(name),
                initial=Path(f"screen/weights/{name}.safetensors"),
                stores=(Path("data/processed/train"), Path("data/processed/val")),
                out=Path(f"screen/features/{name}"),
            )
        )
