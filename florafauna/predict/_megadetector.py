"""MegaDetector's batch format: a detector's results, completed, or results of photos and boxes from elsewhere."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any, TextIO

from florafauna.predict._inputs import Photo
from florafauna.predict._part import Row
from florafauna.predict._result import Pairs, Result, label_of, shares_of
from florafauna.predict._results import Categories, Entry, Results, complete

VERSION = "1.4"
DETECTIONS = {"1": "animal", "2": "person", "3": "vehicle"}
WHOLE_PHOTO = [0, 0, 1, 1]
Rows = list[tuple[Photo, Row]]


def write_megadetector(file: TextIO, pairs: Pairs, result: Result) -> None:
    """Write the rows to `file`; of a detector's file all else stays as it is, and known classes keep their numbers."""
    classifier = {"classifier": f"florafauna {result.model}"}
    if result.results is not None:
        results, photos = Results(result.results), _photos(pairs)
        head = results.head()
        categories = Categories(head, result.answers.labels, result.taxonomy)
        members = {"info": {**head.get("info", {}), **classifier}, **categories.members}
        complete(results, file, members, lambda entry: _completed(entry, next(photos), categories, result))
        return
    categories = Categories({}, result.answers.labels, result.taxonomy)
    found = {"1": "whole photo"} if result.request.root is None else DETECTIONS
    members = {"info": {"format_version": VERSION, **classifier}, "detection_categories": found, **categories.members}
    file.write(json.dumps(members, ensure_ascii=False, indent=1)[:-2] + ',\n "images": [')
    for number, rows in enumerate(_photos(pairs)):
        entry = _entry(rows, categories, result)
        file.write((",\n  " if number else "\n  ") + json.dumps(entry, ensure_ascii=False))
    file.write("\n ]\n}\n")


def _photos(pairs: Pairs) -> Iterator[Rows]:
    """The rows of each photo."""
    for _, rows in groupby(pairs, key=lambda pair: (pair[0].entry, pair[0].name)):
        yield list(rows)


def _completed(entry: Entry, rows: Rows, categories: Categories, result: Result) -> Entry | None:
    """The photo with classifications; None if it has none."""
    classified = [(photo, row) for photo, row in rows if "top" in row]
    for photo, row in classified:
        assert photo.box is not None
        entry["detections"][photo.box.detection]["classifications"] = _classifications(row, categories)
    event = _event(rows, result)
    return entry | event if classified or event else None


def _entry(rows: Rows, categories: Categories, result: Result) -> Entry:
    """The photo as nobody has it yet."""
    photo, first = rows[0]
    errors = [row["error"] for _, row in rows if "error" in row]
    if len(errors) == len(rows):
        return {"file": photo.name, "failure": errors[0], "detections": None}
    if photo.box is None:
        whole = {"category": "1", "conf": first["confidences"][0], "bbox": WHOLE_PHOTO}
        found = [whole | {"classifications": _classifications(first, categories)}]
    else:
        found = [_detection(photo, row, categories) for photo, row in rows if "error" not in row]
    return {"file": photo.name, "detections": found} | _event(rows, result)


def _detection(photo: Photo, row: Row, categories: Categories) -> dict[str, Any]:
    assert photo.box is not None
    category = next((number for number, name in DETECTIONS.items() if name == photo.box.category), "1")
    # what a person drew is sure
    found = {"category": category, "conf": min(photo.box.confidence, 1.0), "bbox": shares_of(photo.box, row)}
    return found | ({"classifications": _classifications(row, categories)} if "top" in row else {})


def _classifications(row: Row, categories: Categories) -> list[list[Any]]:
    return [[categories.of_labels[target], value] for target, value in zip(row["top"], row["confidences"], strict=True)]


def _event(rows: Rows, result: Result) -> Entry:
    """What the photo's event shows, beside the format's own keys."""
    event = rows[0][1].get("event")
    if event is None:
        return {}
    confidence = {"confidence": event["confidences"][0], "accepted": event["accepted"]} if "top" in event else {}
    return {"event": {"id": event["id"], "label": label_of(event, result.answers)} | confidence}
