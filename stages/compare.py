"""Compare models that were scored on the same photos: python -m stages.compare MODEL..."""

import sys

from florafauna.base.errors import one_sentence_on_error
from florafauna.commands.params import load_params
from florafauna.compare.compare import compare

if __name__ == "__main__":
    with one_sentence_on_error():
        compare(sys.argv[1:], load_params().evaluate)
