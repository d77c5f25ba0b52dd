"""Any number of photos through a bundle: decoded in parallel, scored in the batches of `predict_logits`, saved each."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from florafauna.bundle import PREDICTION_BATCH, Bundle, forward, load_bundle
from florafauna.compute import Compute, for_inference
from florafauna.errors import UserError
from florafauna.files import fingerprint
from florafauna.predict.answers import Answers
from florafauna.predict.decoding import WORTH_PROCESSES, Decoder, Seen, see_all
from florafauna.predict.inputs import Inputs, find_inputs
from florafauna.predict.outputs import write
from florafauna.predict.part import Part, Row, rows_of
from florafauna.predict.request import Request
from florafauna.progress import track
from florafauna.views import EvalView

FORMAT = 1  # of the part


@dataclass(frozen=True)
class Scored:
    """Some photos in order, readable or not, and the logits, float32 (readable, classes), of the readable ones."""

    seen: list[Seen]
    logits: np.ndarray


def predict(request: Request, folder: Path, workers: int | None = None) -> int:
    """Write `request.out`; returns the exit code, 1 where not one photo could be read.

    A part of the same photos and the same model that an earlier call left is gone on with. `UserError` for bad input.
    """
    inputs = find_inputs(request.photos, request.submission[0] if request.submission else None)
    if request.submission:
        _refuse_equal_ids(inputs)
    bundle = load_bundle(folder)
    answers = Answers.of_bundle(bundle.info, request.top)
    part = _open_part(request, inputs, bundle, answers)
    times, total = request.form == "camtrap-dp", len(inputs.photos)
    try:
        _say(f"{bundle.info['name']}: {total} photos" + (f", {part.done} of them done before" if part.done else ""))
        if answers.remark:
            _say(answers.remark)
        for scored in score_photos(bundle, inputs, for_inference(bundle.info["precision"]), part.done, workers, times):
            part.add(_rows(scored, answers))
    except OSError as error:
        raise UserError(f"{request.part} cannot be written: {error}.") from None
    finally:
        part.close()
    failed = sum("error" in row for row in rows_of(request.part))
    try:
        write(request, zip(inputs.photos, rows_of(request.part), strict=True), answers, str(bundle.info["name"]))
    except OSError as error:
        raise UserError(f"{request.out} cannot be written: {error}; {request.part} holds the predictions.") from None
    request.part.unlink()
    if failed == total:
        _say(f"florafauna: none of the {total} photos can be read; {request.out} says why.")
        return 1
    _say(f"{request.out}: {total - failed} photos" + (f", {failed} that cannot be read" if failed else ""))
    return 0


def score_photos(
    bundle: Bundle,
    inputs: Inputs,
    compute: Compute,
    first: int = 0,
    workers: int | None = None,
    times: bool = False,
) -> Iterator[Scored]:
    """The photos from number `first` on, a batch at a time.

    Batches are those of `predict_logits`: `PREDICTION_BATCH` readable photos, unreadable ones among them not counted.
    So logits of the same photos in the same order are equal to the last bit, and calls that begin where another batch
    ended make the same batches.
    """
    view = EvalView(bundle.data.test_size, bundle.data.crop_pct, bundle.data.interpolation)
    decoder = Decoder(inputs.sources, int(bundle.info["store_size"]), view, times)
    photos = inputs.photos[first:]
    if workers is None:
        workers = (os.cpu_count() or 1) if len(photos) >= WORTH_PROCESSES else 1
    model = compute.place(bundle.model).eval()
    for batch in _batches(track(see_all(decoder, photos, workers), "predict", len(photos))):
        pixels = [seen.pixels for seen in batch if seen.pixels is not None]
        logits = np.zeros((0, len(bundle.labels)), dtype=np.float32)
        if pixels:
            images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
            (scores,) = forward(model, [images], bundle.data, compute)
            logits = scores.float().cpu().numpy()
        yield Scored(batch, logits)


def _batches(seen: Iterable[Seen]) -> Iterator[list[Seen]]:
    batch: list[Seen] = []
    readable = 0
    for each in seen:
        batch.append(each)
        readable += each.pixels is not None
        if readable == PREDICTION_BATCH or (readable == 0 and len(batch) == PREDICTION_BATCH):
            yield batch
            batch, readable = [], 0
    if batch:
        yield batch


def _rows(scored: Scored, answers: Answers) -> list[Row]:
    answered = iter(answers.rows(scored.logits) if len(scored.logits) else [])
    rows: list[Row] = []
    for seen in scored.seen:
        row = {"error": seen.error} if seen.pixels is None else next(answered)
        rows.append(row | ({"taken": seen.taken} if seen.taken else {}))
    return rows


def _open_part(request: Request, inputs: Inputs, bundle: Bundle, answers: Answers) -> Part:
    header = {
        "format": FORMAT,
        "bundle": fingerprint(bundle.info),
        "photos": inputs.fingerprint,
        "top": answers.top,
        "times": request.form == "camtrap-dp",
    }
    try:
        part = Part(request.part, header)
    except OSError as error:
        raise UserError(f"{request.part} cannot be written: {error}.") from None
    if part.restarted:
        _say(f"{request.part} is of other photos, another model or other options: all is predicted anew")
    return part


def _refuse_equal_ids(inputs: Inputs) -> None:
    known: dict[str, str] = {}
    for photo in inputs.photos:
        if photo.id in known:
            raise UserError(f"--submission: {known[photo.id]} and {photo.name} would both be '{photo.id}'; give a CSV.")
        known[photo.id] = photo.name


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
