"""Write the weights of a backbone to be screened to a tracked file: python -m stages.screen_weights BACKBONE."""

import sys
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.model.weights import make_initial_weights
from florafauna.screen.settings import read_backbone

if __name__ == "__main__":
    with one_sentence_on_error():
        name = sys.argv[1]
        backbone = read_backbone(name)
        make_initial_weights(backbone.architecture, backbone.weights, Path(f"screen/weights/{name}.safetensors"))
