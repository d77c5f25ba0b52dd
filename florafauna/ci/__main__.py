"""One step of the check of a pull request: python -m florafauna.ci STEP. BASE names the branch to compare with."""

import os
import sys
from importlib import import_module

from florafauna.base.errors import UserError, one_sentence_on_error
from florafauna.ci._outcome import STEPS, Outcome, keep

BASE = os.environ.get("BASE") or "main"
# The function of each step and what it is given; imported when it runs, because only one step needs torch.
RUN: dict[str, tuple[str, tuple[str, ...]]] = {
    "pull": ("_pull.pull", ()),
    "scores": ("_rescore.rescore", ()),
    "repro": ("_repro.repro", ()),
    "lock": ("_unchanged.unchanged", ()),
    "drop": ("_drop.drop", (BASE,)),
    "report": ("_report.report", (BASE,)),
    "comment": ("_comment.comment", ()),
}


def main(arguments: list[str]) -> None:
    """Run one step, print its sentence and keep how it ended; `UserError` where it fails or is unknown."""
    if len(arguments) != 1 or arguments[0] not in RUN:
        raise UserError(f"name one step: python -m florafauna.ci {'|'.join(RUN)}.")
    step = arguments[0]
    try:
        (module, function), given = RUN[step][0].split("."), RUN[step][1]
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
