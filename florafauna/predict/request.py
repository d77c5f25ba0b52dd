"""The options of a prediction, checked before anything is loaded."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from florafauna.base.errors import UserError
from florafauna.base.files import read_json

EXTENSIONS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class PredictionRequest:
    """Photos in, a file out; `form` is csv, parquet, jsonl, megadetector, camtrap-dp or submission."""

    photos: tuple[str, ...]
    out: Path
    form: str
    top: int
    submission: tuple[str, str] | None
    by_index: bool
    zone: tzinfo | None = None  # for EXIF times without one, in Camtrap DP
    verbatim: bool = False  # text in CSV stays as it is, even if a spreadsheet would take it for a formula

    @classmethod
    def checked(
        cls,
        photos: list[str],
        out: Path,
        form: str | None,
        top: int,
        submission: tuple[str, ...] | None,
        submission_label: str,
        zone: str | None = None,
        verbatim: bool = False,
    ) -> "PredictionRequest":
        """The request; `UserError` for an unknown extension or conflicting options."""
        columns = None
        if submission is not None:
            if len(submission) != 2 or submission[0] == submission[1]:
                raise UserError("--submission takes the names of two columns, such as Image_ID,Label.")
            if form not in (None, "csv"):
                raise UserError(f"--submission writes a CSV; leave out --format {form}.")
            columns = (submission[0], submission[1])
            form = "submission"
        if form is None:
            form = EXTENSIONS.get(out.suffix.lower())
            if form is None:
                raise UserError(
                    f"--out {out}: no format is known for the extension '{out.suffix}'; "
                    "use .csv, .parquet or .jsonl, or choose one with --format."
                )
        if out.is_dir():
            raise UserError(f"--out {out} is a folder; name a file.")
        return cls(tuple(photos), out, form, top, columns, submission_label == "index", _zone(zone, form), verbatim)

    @property
    def part(self) -> Path:
        """The file of finished batches, until all are finished."""
        return self.out.with_name(self.out.name + ".part")


def _zone(name: str | None, form: str | None) -> tzinfo | None:
    if name is None:
        return None
    if form != "camtrap-dp":
        raise UserError("--timezone is for --format camtrap-dp; leave it out.")
    try:
        return datetime.strptime(name, "%z").tzinfo if name[:1] in "+-" else ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise UserError(f"--timezone {name} is unknown; use one such as +02:00 or Europe/Berlin.") from None


def choose_bundle(name: str, root: Path = Path()) -> Path:
    """The folder of the bundle; `best` is the one that is best in metrics/comparison.json."""
    if name != "best":
        return Path(name)
    file = root / "metrics/comparison.json"
    do = "run `dvc repro`, or name a model with --bundle models/NAME"
    comparison = read_json(file, do, do)
    if "best" not in comparison:
        raise UserError(f"{file} names no best model; {do}.")
    return root / "models" / str(comparison["best"])
