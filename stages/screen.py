"""Compare the frozen backbones by cross-validation, and draw the learning curve of the best."""

from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.settings import read_section
from florafauna.scores.settings import EvaluateParams
from florafauna.screen.screen import ScreenJob, screen
from florafauna.screen.settings import read_screen

if __name__ == "__main__":
    with one_sentence_on_error():
        screen(
            ScreenJob(
                read_screen(),
                read_section("evaluate", EvaluateParams),
                stores=(Path("data/processed/train"), Path("data/processed/val")),
                features=Path("screen/features"),
                metrics=Path("metrics/screening.json"),
                details=Path("metrics/details/screening.json"),
                tables=Path("screen/tables"),
                report=Path("reports/screening.html"),
            )
        )
