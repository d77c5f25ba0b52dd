"""The output formats; each file is written row by row, whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.files import atomic_path, sha256_bytes
from florafauna.labels.taxonomy import NO_ANIMAL
from florafauna.predict._inputs import Photo
from florafauna.predict._part import Row
from florafauna.predict.answers import Answers
from florafauna.predict.request import PredictionRequest

UNKNOWN = "unknown"
BLOCK = 4096  # rows in a Parquet row group
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # spreadsheets take text that begins so for a formula
WHOLE_PHOTO = [0, 0, 1, 1]
MEGADETECTOR_VERSION = "1.4"
# https://camtrap-dp.tdwg.org/data, 1.0
OBSERVATION = ("observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
               "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior",
               "individualID", "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX",
               "bboxY", "bboxWidth", "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp",
               "classificationProbability", "observationTags", "observationComments")  # fmt: skip
Pairs = Iterable[tuple[Photo, Row]]


def write(request: PredictionRequest, pairs: Pairs, answers: Answers, model: str) -> None:
    """Write `request.out`; `pairs` are all photos with their rows, in order, and are iterated over once."""
    with atomic_path(request.out) as temporary:
        WRITERS[request.form](temporary, pairs, answers, request, model)


def table_columns(answers: Answers) -> list[tuple[str, pa.DataType]]:
    """Names and types of the columns in csv, parquet and jsonl."""
    ranked = [
        column
        for number in range(1, answers.top + 1)
        for column in ((f"label_{number}", pa.string()), (f"confidence_{number}", pa.float64()))
    ]
    taxon = [("taxon", pa.string()), ("taxon_rank", pa.string()), ("taxon_confidence", pa.float64())]
    return [
        ("path", pa.string()),
        ("label", pa.string()),
        ("accepted", pa.bool_()),
        *ranked,
        *(taxon if answers.ancestors is not None else []),
        ("error", pa.string()),
    ]


def table_row(photo: Photo, row: Row, answers: Answers) -> dict[str, Any]:
    """A row by column, None where empty; `label` is "unknown" if the photo is not accepted.

    Where validation could promise nothing, `accepted` is empty and `label` the likeliest class.
    """
    result: dict[str, Any] = {name: None for name, _ in table_columns(answers)}
    result["path"], result["error"] = photo.name, row.get("error")
    if "top" in row:
        result["label"] = answers.labels[row["top"][0]] if row["accepted"] is not False else UNKNOWN
        result["accepted"] = row["accepted"]
        for number, (target, confidence) in enumerate(zip(row["top"], row["confidences"], strict=True), start=1):
            result[f"label_{number}"], result[f"confidence_{number}"] = answers.labels[target], confidence
        if "taxon" in row:
            result["taxon_rank"], result["taxon"], result["taxon_confidence"] = row["taxon"]
    return result


def _csv(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    columns = [name for name, _ in table_columns(answers)]
    with _rows(path, columns, request.verbatim) as add:
        for photo, row in pairs:
            values = table_row(photo, row, answers)
            accepted = values["accepted"]
            add([*(values | {"accepted": None if accepted is None else str(accepted).lower()}).values()])


def _jsonl(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    with _text(path) as file:
        for photo, row in pairs:
            file.write(json.dumps(table_row(photo, row, answers), ensure_ascii=False) + "\n")


def _parquet(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    schema = pa.schema(table_columns(answers))
    rows = (table_row(photo, row, answers) for photo, row in pairs)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while block := list(islice(rows, BLOCK)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def _submission(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    with _rows(path, list(request.submission or ()), verbatim=True) as add:  # ids must match those of the competition
        for photo, row in pairs:
            best = row["top"][0] if "top" in row else None
            add([photo.id, best if best is None or request.by_index else answers.labels[best]])


def _megadetector(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    """MegaDetector's batch format: one detection, the whole photo, with the confidence of its first label."""
    head = {
        "info": {"format_version": MEGADETECTOR_VERSION, "classifier": f"florafauna {model}"},
        "detection_categories": {"1": "whole photo"},
        "classification_categories": {str(number): label for number, label in enumerate(answers.labels)},
    }
    with _text(path) as file:
        file.write(json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "images": [')
        for number, (photo, row) in enumerate(pairs):
            file.write(("," if number else "") + "\n  " + json.dumps(_detected(photo, row), ensure_ascii=False))
        file.write("\n ]\n}\n")


def _detected(photo: Photo, row: Row) -> dict[str, Any]:
    if "top" not in row:
        return {"file": photo.name, "failure": row["error"], "detections": None}
    classes = [[str(target), value] for target, value in zip(row["top"], row["confidences"], strict=True)]
    found = {"category": "1", "conf": row["confidences"][0], "bbox": WHOLE_PHOTO, "classifications": classes}
    return {"file": photo.name, "detections": [found]}


def _camtrap(path: Path, pairs: Pairs, answers: Answers, request: PredictionRequest, model: str) -> None:
    """observations.csv of Camtrap DP, one per photo: its folder is the deployment, its EXIF time that of the event."""
    with _rows(path, list(OBSERVATION), request.verbatim) as add:
        for photo, row in pairs:
            values = _observed(photo, row, answers, model, moment(row, request.zone))
            add([values.get(name) for name in OBSERVATION])


def moment(row: Row, zone: tzinfo | None) -> str | None:
    """The time of a photo as ISO 8601, without an offset if neither the photo nor `zone` gives one."""
    taken = row.get("taken")
    if not taken:
        return None
    try:
        time = datetime.fromisoformat(taken)
    except ValueError:  # 0000:00:00 and the like
        return None
    return (time if time.tzinfo or zone is None else time.replace(tzinfo=zone)).isoformat()


def _observed(photo: Photo, row: Row, answers: Answers, model: str, time: str | None) -> dict[str, Any]:
    folder = PurePosixPath(photo.name).parent.as_posix()
    values: dict[str, Any] = {
        "observationID": sha256_bytes(photo.name.encode())[:16],
        "deploymentID": folder,
        "mediaID": photo.name,
        "eventStart": time,
        "eventEnd": time,
        "observationLevel": "media",
        "classificationMethod": "machine",
        "classifiedBy": f"florafauna {model}",
    }
    if "top" not in row:
        return values | {"observationType": "unclassified", "observationComments": row["error"]}
    label = answers.labels[row["top"][0]]
    values["classificationProbability"] = row["confidences"][0]
    if row["accepted"] is False:
        return values | {"observationType": "unknown", "observationComments": f"perhaps {label}"}
    kind = next((kind for kind, names in NO_ANIMAL.items() if label.lower().strip() in names), None)
    return values | ({"observationType": kind} if kind else {"observationType": "animal", "scientificName": label})


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _rows(path: Path, header: list[str], verbatim: bool) -> Iterator[Callable[[list[Any]], Any]]:
    with _text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield writer.writerow if verbatim else lambda values: writer.writerow(map(_no_formula, values))


def _no_formula(value: Any) -> Any:
    """A cell that is safe in a spreadsheet: text that it would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


WRITERS: dict[str, Callable[[Path, Pairs, Answers, PredictionRequest, str], None]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "submission": _submission,
    "megadetector": _megadetector,
    "camtrap-dp": _camtrap,
}
