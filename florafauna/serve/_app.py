"""The page and its requests. Photos are held in memory while they are processed, and never written anywhere."""

import asyncio
import base64
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from florafauna.base.errors import UserError
from florafauna.photos.kinds import printable, refuse_name
from florafauna.predict.answers import Answers
from florafauna.predict.decoding import Preprocessor, decode_bytes
from florafauna.predict.scorer import Scorer
from florafauna.predict.with_onnx import OnnxScorer
from florafauna.serve._guard import Guard
from florafauna.serve._nearest import Absent, Nearest, jpeg

LARGEST_UPLOAD = 128 << 20  # bytes; more than the largest JPEG of any camera
UPLOAD_SECONDS = 60.0  # for a whole photo: 2 MB per second for the largest
HELD = 4 * LARGEST_UPLOAD  # bytes of all photos in memory, whether complete or still arriving
AT_ONCE = 4  # photos processed at a time
TOP = 5
CLOSE = {"connection": "close"}  # else the rest of the body would be read
TOO_LARGE = f"too_large: a photo may have {LARGEST_UPLOAD >> 20} MB here; `florafauna predict` takes larger ones"
NOTHING = "there is nothing at this address"
REMEMBERED = 512  # photos whose neighbours can still be asked for
ASSETS = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


class Service:
    """A scorer for one photo at a time, and the neighbours of the latest photos."""

    def __init__(self, scorer: Scorer, train: Path, cache: Path) -> None:
        self.scorer = scorer
        self.answers = Answers.of_bundle(scorer.info, TOP)
        self._preprocessor = Preprocessor.of_bundle(scorer.info, scorer.resize)
        self._model = threading.Lock()
        self.nearest = _nearest(scorer, train, cache, self._model)
        self._seen: OrderedDict[int, tuple[np.ndarray, int]] = OrderedDict()
        self._numbers = count(1)

    def about(self) -> dict[str, Any]:
        """What the page says about the model."""
        info = self.scorer.info
        return {
            "name": info["name"],
            "architecture": info["architecture"]["name"],
            "classes": len(self.answers.labels),
            "remark": self.answers.remark,
            "largest": LARGEST_UPLOAD,
            "nearest": asdict(self.nearest.state),
        }

    def look(self, data: bytes) -> dict[str, Any]:
        """The answer for one photo; for a bad file raises `HTTPException` with the reason that `predict` gives."""
        seen = decode_bytes(data, self._preprocessor)
        if seen.pixels is None:
            raise HTTPException(422, seen.error)
        with self._model:
            logits = self.scorer.logits(seen.pixels[None])
        try:
            (row,) = self.answers.rows(logits)
        except UserError as error:
            raise HTTPException(500, str(error)) from None
        taxon = row.get("taxon")
        return {
            "id": self._remember(seen.pixels, row["top"][0]),
            "accepted": row["accepted"],
            "labels": [
                {"label": self.answers.labels[target], "confidence": confidence}
                for target, confidence in zip(row["top"], row["confidences"], strict=True)
            ],
            "taxon": dict(zip(("rank", "name", "confidence"), taxon, strict=True)) if taxon else None,
            "seen": "data:image/jpeg;base64," + base64.b64encode(jpeg(seen.pixels)).decode(),
        }

    def near(self, number: int) -> dict[str, Any]:
        """The training photos nearest to a photo given to `look`, or how far their features have been computed."""
        state = self.nearest.state
        photos: list[dict[str, Any]] = []
        if state.kind == "ready":
            if number not in self._seen:
                raise HTTPException(404, "this photo is no longer remembered; drop it again")
            photos = [
                {"row": row, "likeness": round(likeness, 3)} for row, likeness in self.nearest.find(*self._seen[number])
            ]
        return {"state": asdict(state), "photos": photos}

    def _remember(self, pixels: np.ndarray, target: int) -> int:
        number = next(self._numbers)
        if self.nearest.state.kind not in ("absent", "failed"):
            self._seen[number] = self.nearest.features(pixels[None])[0], target
            self.nearest.start()
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return number


def make_app(service: Service, host: str) -> Guard:
    """The ASGI application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    uploads, looked_at = _Uploads(), asyncio.Semaphore(AT_ONCE)
    for path, (name, media_type) in ASSETS.items():
        _add_asset(app, path, files(__package__).joinpath("assets", name).read_bytes(), media_type)

    @app.get("/about")
    def about() -> dict[str, Any]:
        return service.about()

    @app.post("/photo")
    async def photo(request: Request, name: str = "") -> dict[str, Any]:
        _refuse_name(name)
        with uploads.upload() as upload:
            data = await upload.body(request)
            async with looked_at:  # only now, so that a slow upload does not keep others waiting
                return await run_in_threadpool(service.look, data)

    @app.get("/near/{number}")
    def near(number: int) -> dict[str, Any]:
        return service.near(number)

    @app.get("/train/{row}")
    def train(row: int) -> Response:
        picture = service.nearest.picture(row)
        if picture is None:
            raise HTTPException(404, "there is no such training photo")
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        detail = NOTHING if error.detail == "Not Found" else error.detail  # Starlette's own message
        return _message(detail, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def nonsense(request: Request, error: RequestValidationError) -> Response:
        return _message(NOTHING, 404)

    return Guard(app, host)


def _message(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON message; a reason of `predict` ("truncated: ...") is separated from its sentence."""
    reason, found, detail = text.partition(": ")
    if not found or not reason.replace("_", "").isalpha():
        reason, detail = "", text
    sentence = detail[:1].upper() + detail[1:].rstrip(".") + "."
    return JSONResponse({"error": sentence, "reason": reason}, status, headers)


def _add_asset(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    @app.api_route(path, methods=["GET", "HEAD"])
    def asset() -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})


def _refuse_name(name: str) -> None:
    if "/" in name or "\\" in name or name in (".", ".."):
        raise HTTPException(400, f"bad_name: '{printable(name)[:200]}' is a path; a photo has a plain name")
    refused = refuse_name(name)
    if refused:
        raise HTTPException(415, f"{refused.reason}: {refused.detail}")


class _Uploads:
    """The total memory of arriving and waiting photos."""

    def __init__(self) -> None:
        self.held = 0

    @contextmanager
    def upload(self) -> Iterator["_Upload"]:
        """One photo, whose memory counts until it has been processed."""
        upload = _Upload(self)
        try:
            yield upload
        finally:
            self.held -= upload.held


class _Upload:
    def __init__(self, all_: _Uploads) -> None:
        self._all, self.held = all_, 0

    async def body(self, request: Request) -> bytes:
        """The request's body; `HTTPException` if it is too large, too slow, or too much on top of the others."""
        declared = request.headers.get("content-length", "0")
        if not declared.isdigit() or int(declared) > LARGEST_UPLOAD:
            raise HTTPException(413, TOO_LARGE, CLOSE)
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                return bytes(await self._read(request))
        except TimeoutError:
            raise HTTPException(408, f"too_slow: a photo has {UPLOAD_SECONDS:g} seconds to arrive", CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(400, "the upload was interrupted") from None

    async def _read(self, request: Request) -> bytearray:
        data = bytearray()
        async for chunk in request.stream():
            self._hold(len(chunk))
            data += chunk
            if len(data) > LARGEST_UPLOAD:
                raise HTTPException(413, TOO_LARGE, CLOSE)
        return data

    def _hold(self, size: int) -> None:
        if self._all.held + size > HELD:
            raise HTTPException(503, "too many photos are arriving at once; try this one again later", CLOSE)
        self._all.held += size
        self.held += size


def _nearest(scorer: Scorer, train: Path, cache: Path, model: threading.Lock) -> Nearest:
    if isinstance(scorer, OnnxScorer):
        return Absent("An ONNX bundle has no features to compare training photos by; serve models/NAME for that.")
    from florafauna.predict.with_torch import TorchScorer
    from florafauna.serve._neighbours import open_neighbours

    assert isinstance(scorer, TorchScorer)
    return open_neighbours(scorer, train, cache, model)
