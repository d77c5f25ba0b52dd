"""The options of a prediction, checked before anything is loaded."""

import re
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.predict._remote import is_url

EXTENSIONS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl",
              ".json": "megadetector"}  # fmt: skip


@dataclass(frozen=True)
class PredictionRequest:
    """Photos in, a file out, or a folder of Parquet files where Ray makes it.

    `form` is csv, parquet, jsonl, megadetector, timelapse, camtrap-dp or submission. With `root`, `photos` is a
    detector's file, and the photos lie below `root`.
    """

    photos: tuple[str, ...]
    out: Path
    form: str
    top: int
    submission: tuple[str, str] | None
    by_index: bool
    zone: tzinfo | None = None  # for EXIF times without one, in Camtrap DP
    verbatim: bool = False  # text in CSV stays as it is, even if a spreadsheet would take it for a formula
    root: Path | None = None
    events: Literal["sequence"] | float | None = None  # how photos are joined: by their sequence, or within seconds

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
        root: Path | None = None,
        events: str | None = None,
        on_ray: bool = False,
    ) -> "PredictionRequest":
        """The request; `UserError` for an unknown extension or conflicting options."""
        if on_ray:
            _refuse_on_ray(out, form, submission=submission, events=events, timezone=zone, verbatim=verbatim)
            form = "parquet"
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
                    "use .csv, .parquet, .jsonl or .json, or choose one with --format."
                )
        if not on_ray:
            refuse_no_file(out)
        if submission is None and submission_label != "index":
            raise UserError("--submission-label is for --submission; leave it out.")
        if root is None and len(photos) == 1 and photos[0].lower().endswith(".json") and not Path(photos[0]).is_dir():
            root = Path(photos[0]).parent
        if root is not None and len(photos) != 1:
            raise UserError("--photos goes with one file of a detector's results; leave it out for photos.")
        if submission is not None and (root is not None or events is not None):
            raise UserError("--submission has one row a photo; leave out the boxes and --events.")
        by_index = submission_label == "index"
        how = _events(events)
        return cls(tuple(photos), out, form, top, columns, by_index, _zone(zone, form), verbatim, root, how)

    @property
    def rows(self) -> str:
        """What the rows of the result are."""
        return "photos" if self.root is None else "photos and boxes"

    @property
    def times(self) -> bool:
        """Whether the photos' EXIF times are needed."""
        return self.form == "camtrap-dp" or self.events is not None

    @property
    def part(self) -> Path:
        """The file of finished batches, until all are finished."""
        return self.out.with_name(self.out.name + ".part")


def refuse_no_file(out: Path) -> None:
    """`UserError` where `out` is no place for a file of this machine, which is written beside it and then takes it."""
    if is_url(out):
        raise UserError(f"--out {out} is a URL; name a file of this machine, and copy it to where it should go.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file.")
    if out.exists() and not out.is_file():
        raise UserError(f"--out {out} is a device or a pipe and would be replaced; name a file.")


def _refuse_on_ray(out: Path, form: str | None, **others: object) -> None:
    given = [f"--{name}" for name, value in others.items() if value]
    if form not in (None, "parquet"):
        given.append(f"--format {form}")
    if given:
        raise UserError(f"--on ray writes Parquet files with a row a photo; leave out {', '.join(given)}.")
    if out.name in ("", "-") or EXTENSIONS.get(out.suffix.lower(), "parquet") != "parquet" or is_url(out):
        raise UserError(f"--out {out}: --on ray writes a folder of Parquet files; name a folder that all workers see.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; with --on ray, name a folder.")


def _zone(name: str | None, form: str | None) -> tzinfo | None:
    if name is None:
        return None
    if form != "camtrap-dp":
        raise UserError("--timezone is for --format camtrap-dp; leave it out.")
    try:
        return datetime.strptime(name, "%z").tzinfo if name[:1] in "+-" else ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise UserError(f"--timezone {name} is unknown; use one such as +02:00 or Europe/Berlin.") from None


def _events(text: str | None) -> Literal["sequence"] | float | None:
    if text is None:
        return None
    if text == "sequence":
        return "sequence"
    found = re.fullmatch(r"folder,(\d+(?:\.\d+)?)", text)
    if found is None:
        raise UserError(
            f"--events {text} is unknown; use sequence, or folder,60 for photos of one folder that follow each other "
            "within 60 seconds."
        )
    return float(found[1])


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
