"""Write a model's initial weights to a tracked file: python -m stages.weights MODEL."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.model.settings import read_model
from florafauna.model.weights import make_initial_weights

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        model = read_model(name)
        make_initial_weights(model.architecture, model.weights, Path(f"models/initial/{name}.safetensors"))
