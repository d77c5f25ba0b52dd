"""Compare models that were scored on the same photos: python -m stages.compare MODEL..."""

import sys

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.settings import read_section
from florafauna.compare.compare import compare
from florafauna.scores.settings import EvaluateParams

if __name__ == "__main__":
    with one_sentence_on_error():
        compare(sys.argv[1:], read_section("evaluate", EvaluateParams))
