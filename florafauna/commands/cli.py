"""Look at labelled photos before a run, and use the trained model afterwards."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.version import own_version

FORMATS = ("csv", "parquet", "jsonl", "megadetector", "timelapse", "camtrap-dp")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code, or ends the process with one sentence on bad input.

    >>> main(["check", "data/sample"])  # doctest: +SKIP
    0
    """
    with one_sentence_on_error():
        options = _parser().parse_args(arguments)
        return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="florafauna", description=__doc__, epilog="`florafauna COMMAND --help` shows options and examples."
    )
    parser.add_argument("--version", action="version", version=f"florafauna {own_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (about, add) in COMMANDS.items():
        add(
            commands.add_parser(
                name,
                help=about,
                description=f"{about[0].upper()}{about[1:]}.",
                epilog=f"examples:\n{EXAMPLES[name]}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
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
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="other settings (default: params.yaml)"
    )


def _check(options: argparse.Namespace) -> int:
    from florafauna.commands._check import check

    check(options.params, options.path, options.labels, options.format, options.label, options.groups)
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_predict)
    _add_inputs(parser)
    _add_bundle(parser, "models/NAME, or what `export` wrote")
    parser.add_argument("--out", type=Path, required=True, help=".csv, .parquet, .jsonl or .json; with --on, a folder")
    parser.add_argument("--format", choices=FORMATS, help="default: by the extension of OUT")
    parser.add_argument("--top", type=_positive, default=5, metavar="K", help="labels per photo (default: 5)")
    parser.add_argument("--submission", type=_names, metavar="ID,LABEL", help="write these two columns and no others")
    parser.add_argument(
        "--submission-label",
        choices=("index", "name"),
        default="index",
        help="the class's number or name (default: index)",
    )
    parser.add_argument(
        "--events",
        metavar="HOW",
        help="one answer for photos that belong together, too: `sequence`, or `folder,60` for those of one folder that "
        "follow each other within 60 s by EXIF",
    )
    parser.add_argument(
        "--timezone",
        metavar="ZONE",
        help="for EXIF times without one, in camtrap-dp: Europe/Berlin, or --timezone=-05:00",
    )
    parser.add_argument(
        "--verbatim", action="store_true", help="CSV for programs: no ' before text that starts like a formula"
    )
    parser.add_argument(
        "--workers", type=_positive, help="processes that decode (default: one per core, or threads for few photos)"
    )
    parser.add_argument(
        "--on",
        choices=("ray",),
        help="all GPUs or cores of this machine, or of the cluster of RAY_ADDRESS, into a folder of Parquet files",
    )


def _predict(options: argparse.Namespace) -> int:
    from florafauna.predict.request import PredictionRequest, choose_bundle
    from florafauna.predict.run import predict

    request = PredictionRequest.checked(
        options.inputs,
        options.out,
        options.format,
        options.top,
        options.submission,
        options.submission_label,
        options.timezone,
        options.verbatim,
        options.photos,
        options.events,
        options.on == "ray",
    )
    bundle = choose_bundle(options.bundle)
    if options.on:
        from florafauna.predict.on_ray import predict_on_ray

        return predict_on_ray(request, bundle, options.workers)
    return predict(request, bundle, options.workers)


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_embed)
    _add_inputs(parser)
    _add_bundle(parser, "models/NAME")
    parser.add_argument("--out", type=Path, required=True, help="a .parquet file: columns path, embedding, error")
    parser.add_argument(
        "--workers", type=_positive, help="processes that decode (default: one per core, or threads for few photos)"
    )


def _embed(options: argparse.Namespace) -> int:
    from florafauna.predict.embed import embed
    from florafauna.predict.request import choose_bundle

    return embed(options.inputs, options.out, choose_bundle(options.bundle), options.workers, options.photos)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_compare)
    parser.add_argument("first", type=Path, help="a folder such as predictions/vit, or a copy of one")
    parser.add_argument("second", type=Path, help="another one, which may be of crops of the same photos")


def _compare(options: argparse.Namespace) -> int:
    from florafauna.compare.by_photo import compare_by_photo

    print(compare_by_photo(options.first, options.second))
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_export)
    parser.add_argument("--onnx", action="store_true", required=True, help="the format: ONNX")
    _add_bundle(parser, "models/NAME")
    parser.add_argument("--out", type=Path, required=True, help="a folder, or a file that ends in .onnx")


def _export(options: argparse.Namespace) -> int:
    from florafauna.predict.extras import require
    from florafauna.predict.request import choose_bundle

    folder = choose_bundle(options.bundle)
    require("onnx")  # before torch, which takes time to import
    from florafauna.predict.export import export_onnx

    export_onnx(folder, options.out)
    return 0


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve)
    _add_bundle(parser, "models/NAME, or what `export` wrote")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, for this machine only)"
    )
    parser.add_argument("--port", type=_port, default=8765, metavar="N", help="default: 8765; 0: any free port")


def _serve(options: argparse.Namespace) -> int:
    from florafauna.predict.extras import require
    from florafauna.predict.request import choose_bundle

    folder = choose_bundle(options.bundle)
    require("serve")
    from florafauna.serve.run import serve

    serve(folder, options.host, options.port)
    return 0


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PHOTOS",
        help="folders, files, globs, zip or tar archives, a CSV of paths, or a detector's results",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="ROOT",
        help="folder of the photos of a detector's results (default for a .json: beside it)",
    )


def _add_bundle(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--bundle", default="best", help=f"{what} (default: best, chosen on the validation photos)")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{number} is not between 0 and 65535")
    return number


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "check": ("what a run would do with labelled photos; trains nothing", _add_check),
    "predict": ("label new photos with a trained model", _add_predict),
    "embed": ("the features before the classifier, to search, cluster or train on", _add_embed),
    "compare": ("which of two predictions of the same test photos is better, whole photos or crops", _add_compare),
    "export": ("write a trained model as ONNX, for use without torch", _add_export),
    "serve": ("a local page: drop photos, see what they show", _add_serve),
}
EXAMPLES = {
    "check": """\
  florafauna check photos/
  florafauna check photos.zip --labels labels.csv --groups location""",
    "predict": """\
  florafauna predict new/ --out labels.csv
  florafauna predict 'new/**/*.jpg' more.zip --bundle models/vit --out labels.parquet
  florafauna predict cameras/ --out results.json
  florafauna predict millions.tar s3://bucket/photos --out labels/ --on ray
  florafauna predict detected.json --photos cameras/ --out classified.json --events folder,60
  florafauna predict Test.csv --out submission.csv --submission Image_ID,Label""",
    "embed": """\
  florafauna embed new/ --out features.parquet
  florafauna embed 'new/**/*.jpg' more.zip --bundle models/vit --out features.parquet""",
    "compare": """\
  florafauna compare whole/vit predictions/vit""",
    "export": """\
  florafauna export --onnx --out exported/
  florafauna export --onnx --bundle models/vit --out vit.onnx
  florafauna predict new/ --bundle vit.onnx --out labels.csv""",
    "serve": """\
  florafauna serve
  florafauna serve --bundle models/vit --port 8000""",
}


if __name__ == "__main__":
    raise SystemExit(main())
