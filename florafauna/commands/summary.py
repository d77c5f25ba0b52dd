"""The results of a run as a table for the terminal: python -m florafauna.commands.summary."""

import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from florafauna.base.errors import UserError, one_sentence_on_error
from florafauna.base.files import read_json

COLUMNS = ("model", "weighted F1", "interval", "accuracy", "parameters", "trained", "training", "photos/s")


def table(root: Path = Path()) -> tuple[Table, str]:
    """The models and their ensemble, from best to worst, and the verdict; `UserError` before the first run."""
    comparison = read_json(root / "metrics/details/comparison.json")
    costs_file = root / "plots/costs.csv"
    try:
        with costs_file.open(encoding="utf-8", newline="") as file:
            costs = {row["model"]: row for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise UserError(f"{costs_file} is missing; run `dvc repro` or `dvc pull plots` first.") from None
    shown = Table(title=f"{comparison['n']} test photos in {comparison['groups']} groups")
    for name in COLUMNS:
        shown.add_column(name, no_wrap=True)
    for name, scores in comparison["models"].items():
        shown.add_row(
            name,
            f"{scores['weighted_f1']:.3f}",
            f"{scores['weighted_f1_low']:.3f} to {scores['weighted_f1_high']:.3f}",
            f"{scores['accuracy']:.3f}",
            f"{scores['parameters']:,}",
            f"{scores['trainable_parameters']:,}",
            f"{float(costs[name]['training_seconds']):.0f} s",
            f"{float(costs[name]['photos_per_second']):,.0f}",
        )
    return shown, comparison["verdict"]


if __name__ == "__main__":
    with one_sentence_on_error():
        models, verdict = table()
        console = Console(width=max(110, Console().width))
        console.print(models)
        console.print(verdict, highlight=False, markup=False)
        console.print("report: reports/index.html", markup=False)
