"""What a run found, as a table for the terminal: python -m florafauna.commands.summary."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.files import read_json

COLUMNS = ("model", "weighted F1", "95 % interval", "accuracy", "parameters", "trained", "training", "photos/s")


def table(root: Path = Path()) -> tuple[Table, str]:
    """The models and their ensemble from best to worst, and the verdict; `UserError` before the first run."""
    comparison = read_json(root / "metrics/comparison.json")
    result = Table(title=f"{comparison['n']} test photos in {comparison['groups']} groups")
    for name in COLUMNS:
        result.add_column(name, no_wrap=True)
    for name, scores in comparison["models"].items():
        result.add_row(
            name,
            f"{scores['weighted_f1']:.3f}",
            f"{scores['weighted_f1_low']:.3f} to {scores['weighted_f1_high']:.3f}",
            f"{scores['accuracy']:.3f}",
            f"{scores['parameters']:,}",
            f"{scores['trainable_parameters']:,}",
            f"{scores['training_seconds']:.0f} s",
            f"{scores['photos_per_second']:,.0f}",
        )
    return result, comparison["verdict"]


if __name__ == "__main__":
    with one_sentence_on_error():
        models, verdict = table()
        console = Console(width=max(110, Console().width))
        console.print(models)
        console.print(verdict, highlight=False, markup=False)
        console.print("report: reports/index.html", markup=False)
