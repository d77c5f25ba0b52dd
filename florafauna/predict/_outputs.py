"""The output formats; each file is written row by row, whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.files import atomic_path, sha256_bytes
from florafauna.base.taxonomy import NO_ANIMAL
from florafauna.predict._events import Events
from florafauna.predict._inputs import Photo
from florafauna.predict._megadetector import write_megadetector
from florafauna.predict._part import Row
from florafauna.predict._result import Pairs, Result, label_of, number_of, shares_of

BLOCK = 4096  # rows in a Parquet row group
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # spreadsheets take text that begins so for a formula
CAMTRAP_BBOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
# https://camtrap-dp.tdwg.org/data, 1.0
OBSERVATION = ("observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
               "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior",
               "individualID", "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX",
               "bboxY", "bboxWidth", "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp",
               "classificationProbability", "observationTags", "observationComments")  # fmt: skip
BBOX = ("bbox_x", "bbox_y", "bbox_width", "bbox_height")
EVENT = ("event", "event_label", "event_accepted", "event_confidence")
Columns = list[tuple[str, pa.DataType]]


def write(pairs: Pairs, result: Result) -> None:
    """Write `request.out`; `pairs` are all photos with their rows, in order, and are iterated over once."""
    if result.events is not None:
        pairs = _with_events(pairs, result.events)
    with atomic_path(result.request.out) as temporary:
        WRITERS[result.request.form](temporary, pairs, result)


def _with_events(pairs: Pairs, events: Events) -> Iterator[tuple[Photo, Row]]:
    for (photo, row), number in zip(pairs, events.of_rows, strict=True):
        yield photo, row | {"event": events.answers[number]}


def table_columns(result: Result) -> Columns:
    """Names and types of the columns in csv, parquet, jsonl and timelapse."""
    answers, text, number, truth = result.answers, pa.string(), pa.float64(), pa.bool_()
    path = [("RelativePath", text), ("File", text)] if result.request.form == "timelapse" else [("path", text)]
    boxes = [*((name, number) for name in BBOX), ("detection", text), ("detection_confidence", number)]
    ranked = [
        column
        for place in range(1, answers.top + 1)
        for column in ((f"label_{place}", text), (f"confidence_{place}", number))
    ]
    taxon = [("taxon", text), ("taxon_rank", text), ("taxon_confidence", number)]
    return [
        *path,
        *(boxes if result.request.root is not None else []),
        ("label", text),
        ("accepted", truth),
        *ranked,
        *(taxon if answers.ancestors is not None else []),
        *(zip(EVENT, (text, text, truth, number), strict=True) if result.events is not None else []),
        ("error", text),
    ]


def table_row(photo: Photo, row: Row, result: Result) -> dict[str, Any]:
    """A row by column, None where empty; `label` is "unknown" if the photo is not accepted.

    Where validation could promise nothing, `accepted` is empty and `label` the likeliest class.
    """
    labels, place = result.answers.labels, PurePosixPath(photo.name)
    folder = "" if place.parent == PurePosixPath() else place.parent.as_posix()
    values: dict[str, Any] = {"path": photo.name, "File": place.name, "RelativePath": folder}
    values |= {"label": label_of(row, result.answers), "accepted": row.get("accepted"), "error": row.get("error")}
    for at, (target, confidence) in enumerate(zip(row.get("top", ()), row.get("confidences", ()), strict=True), 1):
        values[f"label_{at}"], values[f"confidence_{at}"] = labels[target], confidence
    if "taxon" in row:
        values["taxon_rank"], values["taxon"], values["taxon_confidence"] = row["taxon"]
    if photo.box is not None:
        values |= zip(BBOX, shares_of(photo.box, row), strict=True)
        values |= {"detection": photo.box.category, "detection_confidence": number_of(photo.box.confidence)}
    if "event" in row:
        event = row["event"]
        confidence = event["confidences"][0] if "top" in event else None
        shown = (event["id"], label_of(event, result.answers), event.get("accepted"), confidence)
        values |= zip(EVENT, shown, strict=True)
    return {name: values.get(name) for name, _ in table_columns(result)}


def _csv(path: Path, pairs: Pairs, result: Result) -> None:
    with _rows(path, [name for name, _ in table_columns(result)], result.request.verbatim) as add:
        for photo, row in pairs:
            values = table_row(photo, row, result).values()
            add([str(value).lower() if isinstance(value, bool) else value for value in values])


def _jsonl(path: Path, pairs: Pairs, result: Result) -> None:
    with _text(path) as file:
        for photo, row in pairs:
            file.write(json.dumps(table_row(photo, row, result), ensure_ascii=False) + "\n")


def write_parquet(path: Path, pairs: Pairs, result: Result, metadata: dict[str, str] | None = None) -> None:
    """Write a Parquet file, a block of rows at a time, with `metadata` in its schema."""
    schema = pa.schema(table_columns(result), metadata)
    rows = (table_row(photo, row, result) for photo, row in pairs)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while block := list(islice(rows, BLOCK)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def _submission(path: Path, pairs: Pairs, result: Result) -> None:
    with _rows(
        path, list(result.request.submission or ()), verbatim=True
    ) as add:  # ids must match those of the competition
        for photo, row in pairs:
            best = row["top"][0] if "top" in row else None
            add([photo.id, best if best is None or result.request.by_index else result.answers.labels[best]])


def _megadetector(path: Path, pairs: Pairs, result: Result) -> None:
    with _text(path) as file:
        write_megadetector(file, pairs, result)


def _camtrap(path: Path, pairs: Pairs, result: Result) -> None:
    """observations.csv of Camtrap DP: one a photo or box, whose folder is the deployment, then one an event."""
    zone, events = result.request.zone, result.events
    with _rows(path, list(OBSERVATION), result.request.verbatim) as add:
        for photo, row in pairs:
            time = moment(row.get("taken"), zone)
            event = {"eventID": row["event"]["id"]} if "event" in row else {}
            values = _seen_in(photo, row) | event | {"eventStart": time, "eventEnd": time} | _observed(row, result)
            add([values.get(name) for name in OBSERVATION])
        for row in events.answers if events is not None else []:
            start, end = (moment(row.get(name), zone) for name in ("start", "end"))
            values = {
                "observationID": _identifier(f"event {row['id']}"),
                "deploymentID": row["folder"],
                "eventID": row["id"],
                "eventStart": start,
                "eventEnd": end,
                "observationLevel": "event",
                **_observed(row, result),
            }
            add([values.get(name) for name in OBSERVATION])


def _identifier(name: str) -> str:
    return sha256_bytes(name.encode())[:16]


def moment(taken: str | None, zone: tzinfo | None) -> str | None:
    """A time as ISO 8601, without an offset if neither the photo nor `zone` gives one."""
    if not taken:
        return None
    try:
        time = datetime.fromisoformat(taken)
    except ValueError:  # 0000:00:00 and the like
        return None
    return (time if time.tzinfo or zone is None else time.replace(tzinfo=zone)).isoformat()


def _seen_in(photo: Photo, row: Row) -> dict[str, Any]:
    """The photo, and the place in it."""
    place = {} if photo.box is None else dict(zip(CAMTRAP_BBOX, shares_of(photo.box, row), strict=True))
    folder = PurePosixPath(photo.name).parent.as_posix()
    values = {"observationID": _identifier(photo.shown), "deploymentID": folder, "mediaID": photo.name}
    return values | {"observationLevel": "media"} | place


def _observed(row: Row, result: Result) -> dict[str, Any]:
    """What a photo, a box or an event shows."""
    values: dict[str, Any] = {"classificationMethod": "machine", "classifiedBy": f"florafauna {result.model}"}
    if "error" in row:
        return values | {"observationType": "unclassified", "observationComments": row["error"]}
    label = row["known"] if "known" in row else result.answers.labels[row["top"][0]]
    if "top" in row:
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


WRITERS: dict[str, Callable[[Path, Pairs, Result], None]] = {
    "csv": _csv,
    "timelapse": _csv,
    "jsonl": _jsonl,
    "parquet": write_parquet,
    "submission": _submission,
    "megadetector": _megadetector,
    "camtrap-dp": _camtrap,
}
