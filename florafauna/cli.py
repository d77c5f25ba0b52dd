"""The command `florafauna`: look at photos before a run (check), apply a trained model to new ones (predict)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from florafauna import __version__
from florafauna.errors import one_sentence_on_error

FORMATS = ("csv", "parquet", "jsonl", "megadetector", "camtrap-dp")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code, or ends the process with one sentence for bad input."""
    options = _parser().parse_args(arguments)
    with one_sentence_on_error():
        return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="florafauna", description=__doc__)
    parser.add_argument("--version", action="version", version=f"florafauna {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands.add_parser("check", help="what a run would make of labelled photos; trains nothing"))
    _add_predict(commands.add_parser("predict", help="label new photos with a trained model"))
    return parser


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_check)
    parser.add_argument(
        "path", nargs="?", type=Path, help="folder, zip or tar of photos (default: data of params.yaml)"
    )
    parser.add_argument("--labels", type=Path, help="table or metadata file (default: labels.csv in PATH, else PATH)")
    parser.add_argument("--format", help="format of the labels (default: data.format)")
    parser.add_argument("--label", metavar="RANK", help="species, genus, family, ... (default: data.label)")
    parser.add_argument("--groups", type=_names, metavar="A,B", help="columns whose equal values stay together")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: params.yaml")


def _check(options: argparse.Namespace) -> int:
    from florafauna.check import check

    check(options.params, options.path, options.labels, options.format, options.label, options.groups)
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_predict)
    parser.add_argument("photos", nargs="+", help="folders, files, globs, zip or tar archives, or a CSV of paths")
    parser.add_argument(
        "--bundle", default="best", help="folder of a trained model (default: best, by comparison.json)"
    )
    parser.add_argument("--out", type=Path, required=True, help=".csv, .parquet or .jsonl")
    parser.add_argument("--format", choices=FORMATS, help="default: by the extension of OUT")
    parser.add_argument("--top", type=_positive, default=5, metavar="K", help="labels a photo (default: 5)")
    parser.add_argument("--submission", type=_names, metavar="ID,LABEL", help="write these two columns and no others")
    parser.add_argument("--submission-label", choices=("index", "name"), default="index", help="default: index")
    parser.add_argument("--workers", type=_positive, help="processes that decode (default: one a core)")


def _predict(options: argparse.Namespace) -> int:
    from florafauna.predict.request import Request, choose_bundle
    from florafauna.predict.run import predict

    request = Request.checked(
        options.photos, options.out, options.format, options.top, options.submission, options.submission_label
    )
    return predict(request, choose_bundle(options.bundle), options.workers)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
