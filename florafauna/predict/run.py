"""Predicts any number of photos: decoded in parallel, scored in the batches of `predict_logits`, saved by batch."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from florafauna.base.errors import UserError, plain_line
from florafauna.base.files import fingerprint
from florafauna.base.progress import track
from florafauna.photos.archives import Archive
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import FolderSource
from florafauna.pixels.centre import PREDICTION_BATCH, Resize
from florafauna.predict._detected import find_detected
from florafauna.predict._events import find_events
from florafauna.predict._inputs import Inputs, Photo, expanded, find_inputs, not_searched
from florafauna.predict._outputs import moment, write
from florafauna.predict._part import Part, Row
from florafauna.predict._remote import is_url
from florafauna.predict._result import Result
from florafauna.predict.answers import Answers
from florafauna.predict.decoding import DecodedPhoto, Decoder, Preprocessor, decode_all
from florafauna.predict.request import PredictionRequest
from florafauna.predict.scorer import Scorer, load_scorer

FORMAT = 5  # of OUT.part


@dataclass(frozen=True)
class ScoredBatch:
    """A batch of photos, in order, and the logits, float32 (readable, classes), of those that are readable."""

    seen: list[DecodedPhoto]
    logits: np.ndarray


def predict(request: PredictionRequest, folder: Path, workers: int | None = None) -> int:
    """Write `request.out`; returns the exit code, which is 1 if no photo could be read.

    An interrupted call with the same photos and the same model is resumed. `UserError` for bad input.

    >>> request = PredictionRequest.checked(["new/"], Path("labels.csv"), None, 5, None, "index")
    >>> predict(request, Path("models/vit"))  # doctest: +SKIP
    0
    """
    inputs = checked_inputs(request) if request.root is None else None  # before the model, which takes time to load
    scorer = load_scorer(folder)
    inputs = inputs or checked_inputs(request, scorer.info)
    answers = Answers.of_bundle(scorer.info, request.top, keep_logits=request.events is not None)

    def write_answers(photos: Sequence[Photo], rows: Callable[[], Iterator[Row]]) -> None:
        events = None
        if request.events is not None:
            events = find_events(photos, rows, answers, None if request.events == "sequence" else request.events)
            say(f"{len(photos)} {request.rows} are {len(events.answers)} events")
        result = Result(request, answers, str(scorer.info["name"]), scorer.info["taxonomy"], inputs.results, events)
        write(zip(photos, rows(), strict=True), result)

    return answer_photos(request, inputs, scorer, answers, write_answers, workers)


def checked_inputs(request: PredictionRequest, info: dict[str, Any] | None = None) -> Inputs:
    """The photos of the request, or the boxes as `info`, bundle.json, says that they are cut.

    `UserError` where the result could not be written, or there is none.
    """
    if request.root is None:
        inputs = find_inputs(request.photos, request.submission[0] if request.submission else None, request.part)
    else:
        boxes = BoxParams.model_validate((info or {}).get("boxes", {}))
        inputs = find_detected(Path(request.photos[0]), request.root, boxes)
    _refuse_overwriting(request, inputs)
    if request.submission:
        _refuse_equal_ids(inputs)
    if request.events == "sequence" and not any(photo.sequence for photo in inputs.photos):
        raise UserError(f"--events sequence: {', '.join(request.photos)} names no sequence; use --events folder,60.")
    return inputs


class Answering(Protocol):
    """What is made of a model's outputs."""

    @property
    def remark(self) -> str | None:
        """What the user should know about the answers, if anything."""

    @property
    def kept(self) -> dict[str, Any]:
        """The options that rows depend on: under others an interrupted call is not resumed."""

    def rows(self, logits: np.ndarray) -> list[Row]:
        """One row per photo of float32 (photos, classes)."""


Write = Callable[[Sequence[Photo], Callable[[], Iterator[Row]]], None]  # of photos and their rows, any number of times


def answer_photos(
    request: PredictionRequest,
    inputs: Inputs,
    scorer: Scorer,
    answers: Answering,
    write: Write,
    workers: int | None,
) -> int:
    """Write what `answers` makes of the model's outputs, from where an interrupted call stopped; the exit code."""
    decoder = decoder_of(request, inputs, scorer.info, scorer.resize)
    photos, what = inputs.photos, request.rows
    with _open_part(request, inputs, depends_on(request, inputs, scorer.info, answers), decoder) as part:
        if part.lost:
            say(f"{part.path} {part.lost}: {len(photos) - part.done} of {len(photos)} {what} are predicted again")
        announce(request, inputs, scorer.info, answers, part.done)
        for scored in score_photos(scorer, decoder, photos, workers, part.done):
            part.add(rows_of(scored, photos[part.done : part.done + len(scored.seen)], answers))
        return _finish(part, request, photos, write)


def announce(request: PredictionRequest, inputs: Inputs, info: dict[str, Any], answers: Answering, done: int) -> None:
    """Tell the user what is about to be predicted by the model of `info`, bundle.json, and what was `done` before."""
    name = info["name"]
    say(f"{name}: {len(inputs.photos)} {request.rows}" + (f", {done} of them done before" if done else ""))
    if request.root is not None and inputs.boxes.use == "whole":
        padding = f"{inputs.boxes.padding:.0%}"
        say(f"{name} was trained on whole photos and is shown boxes, cut with {padding} of their side around them")
    if request.root is None and info.get("boxes", {}).get("use") == "crop":
        say(f"{name} was trained on boxes and is shown whole photos; give a detector's file in their place")
    if answers.remark:
        say(answers.remark)
    if left_out := not_searched(inputs.linked):
        say(f"{', '.join(request.photos)}{left_out}")


def conclude(request: PredictionRequest, total: int, failed: int) -> int:
    """Tell the user what was written; returns the exit code."""
    if failed == total:
        say(f"florafauna: none of the {total} photos can be read; see {request.out} for the reasons.")
        return 1
    say(f"{request.out}: {total - failed} {request.rows}" + (f", {failed} that cannot be read" if failed else ""))
    return 0


def _finish(part: Part, request: PredictionRequest, photos: Sequence[Photo], write: Write) -> int:
    """Write the result from the finished part, which is then removed; returns the exit code."""
    total, failed = len(photos), sum("error" in row for row in part.rows())
    try:
        write(photos, part.rows)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{request.out} cannot be written: {why}; {part.path} holds what was computed.") from None
    without_zone = _without_zone(request, part)
    part.remove()
    if without_zone and failed < total:
        say(f"{without_zone} photos have no time or no time zone, which Camtrap DP requires; use --timezone for zones")
    return conclude(request, total, failed)


def score_photos(
    scorer: Scorer, decoder: Decoder, photos: Sequence[Photo], workers: int | None = None, start: int = 0
) -> Iterator[ScoredBatch]:
    """Score the photos from number `start` on, a batch at a time.

    Batches are those of `predict_logits`: `PREDICTION_BATCH` readable photos, not counting unreadable ones. So the same
    photos in the same order have logits equal to the last bit, also if a call begins where a batch of another ended.
    """
    seen = decode_all(decoder, photos, workers, start)
    yield from score_decoded(scorer, track(seen, "predict", len(photos) - start))


def score_decoded(scorer: Scorer, seen: Iterable[DecodedPhoto]) -> Iterator[ScoredBatch]:
    """Score decoded photos in the batches of `score_photos`."""
    for batch in _batches(seen):
        pixels = [seen.pixels for seen in batch if seen.pixels is not None]
        classes = len(scorer.info["labels"])
        yield ScoredBatch(
            batch, scorer.logits(np.stack(pixels)) if pixels else np.zeros((0, classes), dtype=np.float32)
        )


def _batches(seen: Iterable[DecodedPhoto]) -> Iterator[list[DecodedPhoto]]:
    batch: list[DecodedPhoto] = []
    readable = 0
    for each in seen:
        batch.append(each)
        readable += each.pixels is not None
        if readable == PREDICTION_BATCH or (readable == 0 and len(batch) == PREDICTION_BATCH):
            yield batch
            batch, readable = [], 0
    if batch:
        yield batch


def rows_of(scored: ScoredBatch, photos: Sequence[Photo], answers: Answering) -> list[Row]:
    """One row per photo of a batch: its answer, or what is known of it, or its error."""
    answered = iter(answers.rows(scored.logits) if len(scored.logits) else [])
    rows: list[Row] = []
    for photo, seen in zip(photos, scored.seen, strict=True):
        if seen.pixels is not None:
            row = next(answered)
        else:
            row = {"error": seen.error} if seen.error else {"known": photo.known}
        taken = {"taken": seen.taken} if seen.taken else {}
        size = {"size": list(seen.size)} if seen.size and photo.box and not photo.box.relative else {}
        rows.append(row | taken | size | {"file": None if seen.stamp is None else list(seen.stamp)})
    return rows


def decoder_of(request: PredictionRequest, inputs: Inputs, info: dict[str, Any], resize: Resize) -> Decoder:
    """How the photos of the request become inputs of the model of `info`, bundle.json."""
    return Decoder(inputs.sources, Preprocessor.of_bundle(info, resize), request.times, inputs.boxes)


def depends_on(request: PredictionRequest, inputs: Inputs, info: dict[str, Any], answers: Answering) -> dict[str, Any]:
    """What rows depend on, `info` being bundle.json: an interrupted call is resumed only where this is the same."""
    return {
        "format": FORMAT,
        "bundle": fingerprint(info),
        "photos": inputs.fingerprint,
        "times": request.times,
        **answers.kept,
        "boxes": None if request.root is None else inputs.boxes.model_dump(),
    }


def _open_part(request: PredictionRequest, inputs: Inputs, header: dict[str, Any], decoder: Decoder) -> Part:
    def is_stale(number: int, row: Row) -> bool:
        stamp = decoder.stamp(inputs.photos[number])
        return row["file"] != (None if stamp is None else list(stamp))

    return Part(request.part, header, is_stale)


def _without_zone(request: PredictionRequest, part: Part) -> int:
    """How many observations are not valid Camtrap DP, because it requires a time with a zone."""
    if request.form != "camtrap-dp":
        return 0
    moments = (moment(row.get("taken"), request.zone) for row in part.rows())
    return sum(time is None or datetime.fromisoformat(time).tzinfo is None for time in moments)


def _refuse_overwriting(request: PredictionRequest, inputs: Inputs) -> None:
    """The result must not replace a photo, an archive or a table of photos."""
    if not request.out.exists():
        return
    out = request.out.resolve()
    roots = [source.root if isinstance(source, FolderSource | Archive) else None for source in inputs.sources]
    given = (path for argument in request.photos if not is_url(argument) for path in expanded(argument))
    photos = ((roots[photo.source], photo.path) for photo in inputs.photos if photo.path.endswith(out.name))
    for path in (*given, *filter(None, roots), *(root / path for root, path in photos if root is not None)):
        if path.name == out.name and path.resolve() == out:
            raise UserError(f"--out {request.out} is among PHOTOS and would be overwritten; name another file.")


def _refuse_equal_ids(inputs: Inputs) -> None:
    known: dict[str, str] = {}
    for photo in inputs.photos:
        if photo.id in known:
            raise UserError(f"--submission: {known[photo.id]} and {photo.name} would both be '{photo.id}'; give a CSV.")
        known[photo.id] = photo.name


def say(text: str) -> None:
    """Tell the user, on one line of stderr."""
    print(plain_line(text), file=sys.stderr, flush=True)
