"""One step of the checks of a pull request: python -m florafauna.ci STEP. BASE names the branch to compare with."""

import os
import sys
from importlib import import_module

from florafauna.base.errors import UserError, one_sentence_on_error
from florafauna.ci._outcome import STEPS, Outcome, keep

# The function of each step, imported when it runs: only one step needs torch.
RUN = {
    "pull": "_pull.pull",
    "scores": "_rescore.rescore",
    "repro": "_repro.repro",
    "drop": "_drop.drop",
    "report": "_report.report",
    "comment": "_comment.comment",
}
AGAINST_BASE = ("drop", "report")


def main(arguments: list[str]) -> None:
    """Run one step, print its sentence and record the outcome; `UserError` if it fails or is unknown."""
    if len(arguments) != 1 or arguments[0] not in RUN:
        raise UserError(f"name one step: python -m florafauna.ci {'|'.join(RUN)}.")
    step = arguments[0]
    module, function = RUN[step].split(".")
    given = [os.environ.get("BASE") or "main"] if step in AGAINST_BASE else []
    try:
        sentence: str = getattr(import_module(f"florafauna.ci.{module}"), function)(*given)
    except UserError as error:
        if step in STEPS:
            keep(Outcome(step, False, str(error)))
        raise
    if step in STEPS:
        keep(Outcome(step, True, sentence))
    print(f"{step}: {sentence}", flush=True)


if __name__ == "__main__":
    with one_sentence_on_error():
        main(sys.argv[1:])
