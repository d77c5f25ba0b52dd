"""The data section: metrics/data.json, data/quarantine.csv and the example pictures, as rows to show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.base.suspicions import described
from florafauna.compare.report._thumbnails import data_uri

EXAMPLES = 3  # files named for each reason
COLUMNS = ("path", "label", "detail")
MOST_NAMED = 20  # entries of a list; its length is always stated


@dataclass(frozen=True)
class QuarantineRow:
    """A reason why files were left out, their number, and the first of them as (path, label, detail)."""

    reason: str
    files: int
    examples: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Listed:
    """A kind of suspicion: its title, how many there are, and the first of them in words."""

    title: str
    total: int
    entries: list[str]


@dataclass(frozen=True)
class Shown:
    """A small picture: its cluster or reason, the file's path, label and split, and a data URI."""

    name: str
    path: str
    label: str
    split: str
    uri: str


@dataclass(frozen=True)
class DataFacts:
    """`facts` is metrics/data.json; `per_class` are its rows to show, with `columns`."""

    facts: dict[str, Any]
    splits: list[str]
    columns: list[str]
    per_class: list[tuple[str, dict[str, int]]]
    reasons: list[QuarantineRow]
    suspicions: list[Listed]
    duplicates: list[list[Shown]]
    suspects: list[list[Shown]]
    pictures: list[Shown]


def read_data_facts(root: Path, most_classes: int) -> DataFacts:
    """Read the files below `root`, for the `most_classes` classes with most photos; `UserError` if one is missing."""
    pictures_of = root / "data/examples.parquet"
    if not pictures_of.is_file():  # pyarrow's error would not name it
        raise UserError(f"{pictures_of} is missing; run `dvc repro`.")
    facts = read_json(root / "metrics/data.json")
    file = root / "data/quarantine.csv"
    try:
        examples = pd.read_parquet(pictures_of)
        quarantine = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing; run `dvc repro`.") from None
    except ValueError as error:
        raise UserError(f"{pictures_of} or {file} cannot be read ({error}); run `dvc repro`.") from None
    rows = sorted(facts["per_class"].items(), key=lambda item: -item[1]["used"])[:most_classes]
    columns = list(rows[0][1]) if rows else []
    reasons, suspicions = _reasons(quarantine), _suspicions(facts["suspects"])
    duplicates, suspects = (_clusters(examples[examples["kind"] == kind]) for kind in ("duplicate", "suspect"))
    pictures = _shown(examples[examples["kind"] == "quarantine"])
    return DataFacts(facts, list(facts["splits"]), columns, rows, reasons, suspicions, duplicates, suspects, pictures)


def _clusters(photos: pd.DataFrame) -> list[list[Shown]]:
    return [_shown(rows) for _, rows in photos.groupby("name", sort=False)]


def _shown(photos: pd.DataFrame) -> list[Shown]:
    columns = (photos[name] for name in ("name", "path", "label", "split", "picture"))
    return [
        Shown(name, path, label, split, data_uri(picture))
        for name, path, label, split, picture in zip(*columns, strict=True)
    ]


def _reasons(quarantine: pd.DataFrame) -> list[QuarantineRow]:
    found = []
    for reason, rows in quarantine.groupby("reason"):
        first = rows.head(EXAMPLES)
        examples = [(str(a), str(b), str(c)) for a, b, c in zip(*(first[n] for n in COLUMNS), strict=True)]
        found.append(QuarantineRow(str(reason), len(rows), examples))
    return sorted(found, key=lambda each: (-each.files, each.reason))


def _suspicions(suspects: dict[str, Any]) -> list[Listed]:
    return [
        Listed(title[0].upper() + title[1:], len(entries), entries[:MOST_NAMED])
        for title, entries in described(suspects).items()
    ]
