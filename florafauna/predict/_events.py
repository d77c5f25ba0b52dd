"""The events of predicted photos, and what each shows.

An event is a sequence, or a chain of photos of one folder that follow each other within some seconds by EXIF.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

import numpy as np

from florafauna.predict._inputs import Photo
from florafauna.predict._part import Row
from florafauna.predict.answers import Answers, logits_of
from florafauna.scores.events import blank_classes, pooled

KNOWN = ("person", "vehicle", "blank")  # the first that was seen is the answer where no animal was


@dataclass(frozen=True)
class Events:
    """`of_rows` is the number of each row's event, int64 (rows,); `answers` what each event shows.

    An answer is a row as of a photo, with `id`, `folder` and, if known, `start` and `end` (ISO 8601) besides.
    """

    of_rows: np.ndarray
    answers: list[Row]


def find_events(
    photos: Sequence[Photo], rows: Callable[[], Iterator[Row]], answers: Answers, seconds: float | None
) -> Events:
    """The events of all `rows()`, by sequence or, given `seconds`, by folder and time."""
    names = [photo.sequence or photo.name for photo in photos]
    taken = [str(row.get("taken", "")) for row in rows()]
    if seconds is not None:
        names = _chained(photos, taken, seconds)
    numbers: dict[str, int] = {}
    of_rows = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
    found: list[Row] = [{"id": name} for name in numbers]
    for photo, time, event in zip(photos, taken, of_rows, strict=True):
        answer = found[event]
        answer.setdefault("folder", PurePosixPath(photo.name).parent.as_posix())
        if time:
            answer["start"], answer["end"] = min(answer.get("start", time), time), max(answer.get("end", time), time)
    for event, row in _answered(of_rows, rows(), answers):
        found[event] |= row
    return Events(of_rows, found)


def _chained(photos: Sequence[Photo], taken: list[str], seconds: float) -> list[str]:
    """The name of each photo's event: its folder and the time of its first photo; its own where it has no time."""
    names = [photo.name for photo in photos]
    folders = [PurePosixPath(name).parent.as_posix() for name in names]
    timed = sorted((folders[row], time, row) for row, time in enumerate(map(_clock, taken)) if time is not None)
    event, before = "", ("", 0.0)
    for folder, time, row in timed:
        if not event or folder != before[0] or time - before[1] > seconds:
            event = f"{folder}/{taken[row]}"
        names[row], before = event, (folder, time)
    return names


def _clock(taken: str) -> float | None:
    """Seconds by the camera's clock."""
    try:
        return (datetime.fromisoformat(taken[:19]) - datetime(1970, 1, 1)).total_seconds()
    except ValueError:  # 0000:00:00 and the like
        return None


def _answered(of_rows: np.ndarray, rows: Iterator[Row], answers: Answers) -> Iterator[tuple[int, Row]]:
    """Each event with its answer, once its last row is read: only those that are under way are in memory."""
    left, under_way = Counter(of_rows.tolist()), defaultdict[int, list[Row]](list)
    blank = blank_classes(answers.labels)
    for event, row in zip(of_rows.tolist(), rows, strict=True):
        under_way[event].append(row)
        left[event] -= 1
        if not left[event]:
            yield event, _answer(under_way.pop(event), answers, blank)


def _answer(rows: list[Row], answers: Answers, blank: np.ndarray) -> Row:
    logits = [each for each in map(logits_of, rows) if each is not None]
    if logits:
        (row,) = replace(answers, keep_logits=False).rows(pooled(np.stack(logits), answers.temperature, blank)[None])
        return row
    known = {row["known"] for row in rows if "known" in row}
    if not known:
        return {"error": rows[0]["error"]}
    return {"known": next((name for name in KNOWN if name in known), min(known))}
