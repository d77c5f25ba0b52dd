"""`florafauna predict --on ray`: a plain prediction in parts, by Ray Data actors on one machine or a cluster.

The photos are divided into chunks of whole batches, by their number alone. An actor has a GPU, or a few cores, and
makes one Parquet file in OUT of each chunk that it is given: that file is there and complete, or it is absent. Its rows
are those of a plain run. Where all photos can be read, so are the batches, and on the same kind of hardware the logits
are equal to the last bit. Where one cannot, a plain run fills its batch with the photos that follow, across chunks:
logits then differ by rounding, and confidences by 1e-6 at the most.

A photo that crashes its decoder is a row with an error, since actors decode in processes of their own. An actor that
dies otherwise (its machine goes, memory runs out) is started again by Ray and its chunk computed again, any number of
times; the others go on meanwhile.
"""

import json
import logging
import os
import pickle
import re
import signal
import socket
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.cores import share_cores, usable_cores
from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, fingerprint
from florafauna.base.progress import track
from florafauna.bundle.info import read_info
from florafauna.photos.archives import Archive
from florafauna.photos.kinds import one_line
from florafauna.photos.sources import FolderSource
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.predict._inputs import Inputs, Photo
from florafauna.predict._outputs import BLOCK, write_parquet
from florafauna.predict._part import Row, open_locked
from florafauna.predict._resample import resize
from florafauna.predict._result import Result
from florafauna.predict.answers import Answers
from florafauna.predict.decoding import Decoder, decode_all
from florafauna.predict.extras import require
from florafauna.predict.request import PredictionRequest
from florafauna.predict.run import announce, checked_inputs, conclude, decoder_of, depends_on, rows_of, score_decoded
from florafauna.predict.scorer import Scorer, is_exported, load_scorer

CORES = 4  # of an actor without a GPU, at most
CHUNKS = 256  # at least, where there are so many batches: work for many actors
LOCK, FINISHED = "_lock", "_SUCCESS"  # readers of a folder of Parquet files pass over such names
KEY = "florafauna"  # of a file's metadata
# Unless it is told not to, Ray reports its use over the network, and all that it does.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "ERROR"}
HOST, SECONDS = re.compile(r"\[?([\w.:-]+?)\]?:(\d+)"), 10.0  # an address of RAY_ADDRESS, and how long it has to answer
OTHER = {"bundle": "another model", "photos": "other photos"}


def predict_on_ray(request: PredictionRequest, folder: Path, workers: int | None = None) -> int:
    """Write the Parquet files of `request.out`; returns the exit code, which is 1 if no photo could be read.

    Files of an earlier call are kept, but for those with a photo that could not be read and has changed since.
    `workers` processes decode for each actor. `UserError` for bad input, and where `request.out` holds anything else.

    >>> request = PredictionRequest.checked(["new/"], Path("labels"), None, 5, None, "index", on_ray=True)
    >>> predict_on_ray(request, Path("models/vit"))  # doctest: +SKIP
    0
    """
    require("ray")
    info = load_scorer(folder).info if is_exported(folder) else read_info(folder)
    inputs = checked_inputs(request, info)
    answers = Answers.of_bundle(info, request.top)
    chunks = _Chunks(inputs.photos)
    depends = depends_on(request, inputs, info, answers) | {"chunk": chunks.size}
    roots = [each.root for each in inputs.sources if isinstance(each, FolderSource | Archive) and each.root.exists()]
    landmarks = [request.out / LOCK, folder, *roots[:1]]
    job = _Job(request, folder, replace(inputs, photos=[]), answers, depends, Path.cwd(), landmarks, workers)
    request.out.mkdir(parents=True, exist_ok=True)
    with open_locked(request.out / LOCK):
        failed = _kept(request.out, depends, chunks, decoder_of(request, inputs, info, resize))
        announce(request, inputs, info, answers, sum(len(chunks[number]) for number in failed))
        todo = [number for number in range(len(chunks)) if number not in failed]
        if todo:
            (request.out / FINISHED).unlink(missing_ok=True)
            written = _written(job, chunks, todo)
            failed |= dict(track(written, f"predict, files of {chunks.size} {request.rows}", len(todo)))
        (request.out / FINISHED).touch()
        (request.out / LOCK).unlink()
    return conclude(request, len(inputs.photos), sum(failed.values()))


class _Chunks:
    """Photos by the file that they are written to: whole batches, at most a row group of Parquet."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos
        batches = -(-len(photos) // PREDICTION_BATCH)
        self.size = PREDICTION_BATCH * min(-(-batches // CHUNKS), BLOCK // PREDICTION_BATCH)

    def __len__(self) -> int:
        return -(-len(self._photos) // self.size)

    def __getitem__(self, number: int) -> Sequence[Photo]:
        return self._photos[number * self.size : (number + 1) * self.size]


def actors_for(machines: Iterable[Mapping[str, float]]) -> tuple[int, int, int]:
    """Cores and GPUs of an actor, and how many have room, on machines with so many "CPU" and "GPU".

    >>> actors_for([{"CPU": 64, "GPU": 4}, {"CPU": 16}])
    (16, 1, 4)
    >>> actors_for([{"CPU": 6}, {"CPU": 8}])
    (3, 0, 4)
    """
    sizes = [(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in machines]
    with_gpus = [(cores, gpus) for cores, gpus in sizes if gpus and cores]
    if with_gpus:
        share = max(1, min(cores // gpus for cores, gpus in with_gpus))
        return share, 1, sum(min(gpus, cores // share) for cores, gpus in with_gpus)
    share = min((cores // -(-cores // CORES) for cores, _ in sizes if cores), default=1)
    return share, 0, max(1, sum(cores // share for cores, _ in sizes))


@dataclass(frozen=True)
class _Job:
    """What every actor is told: `inputs` is without photos, paths are below `place`, `landmarks` are to be there."""

    request: PredictionRequest
    folder: Path
    inputs: Inputs
    answers: Answers
    depends: dict[str, Any]
    place: Path
    landmarks: list[Path]
    workers: int | None


def _kept(out: Path, depends: dict[str, Any], chunks: _Chunks, decoder: Decoder) -> dict[int, int]:
    """How many photos could not be read, by chunk, of the files that are there; less those with one that changed."""
    failed = {}
    for path in sorted(out.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        try:
            of_file = json.loads(pq.read_schema(path).metadata[KEY.encode()])
        except (OSError, pa.ArrowInvalid, TypeError, KeyError):
            of_file = None
        if of_file is None or path.name != _name(of_file["chunk"]):
            raise UserError(f"{path} is damaged or not of `predict --on ray`; remove it, or name another --out.")
        if of_file["depends"] != depends:
            keys = [key for key in depends if of_file["depends"].get(key) != depends[key]]
            what = next((OTHER[key] for key in OTHER if key in keys), "other options")
            raise UserError(f"{out} holds predictions of {what}; remove it, or name another --out.")
        photos, unreadable = chunks[of_file["chunk"]], of_file["unreadable"]
        if all(_stamp(decoder, photos[int(at)]) == stamp for at, stamp in unreadable.items()):
            failed[of_file["chunk"]] = len(unreadable)
    return failed


def _name(chunk: int) -> str:
    return f"part-{chunk:06d}.parquet"


def _stamp(decoder: Decoder, photo: Photo) -> list[int] | None:
    stamp = decoder.stamp(photo)
    return None if stamp is None else list(stamp)


def _written(job: _Job, chunks: _Chunks, todo: list[int]) -> Iterator[tuple[int, int]]:
    """Each chunk when its file is there, and how many of its photos could not be read."""
    with _started() as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus, actors = actors_for(machines)
        tasks = [{"chunk": number, "photos": zlib.compress(pickle.dumps(list(chunks[number])))} for number in todo]
        results = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            _Predictor,
            fn_constructor_args=(job, cores),
            batch_size=1,
            num_cpus=cores,
            num_gpus=gpus or None,
            compute=ray.data.ActorPoolStrategy(min_size=min(actors, len(tasks))),  # more where the cluster grows
        )
        for result in results.iter_rows():
            if result["error"]:
                raise UserError(result["error"])
            yield int(result["chunk"]), int(result["failed"])


@contextmanager
def _started() -> Iterator[Any]:
    """The module `ray`, connected to the cluster of RAY_ADDRESS, else to one on this machine that ends with it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    address = os.environ.get("RAY_ADDRESS")
    here: dict[str, Any] = {"address": "local", "num_cpus": usable_cores(), "include_dashboard": False}
    handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
    try:
        if address and (found := HOST.fullmatch(address)):
            socket.create_connection((found[1], int(found[2])), SECONDS).close()  # Ray would try for minutes
        ray.init(**({} if address else here), logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        where = f"the cluster of RAY_ADDRESS={address}" if address else "Ray on this machine"
        raise UserError(f"{where} cannot be used ({one_line(error)}); start it, or correct RAY_ADDRESS.") from None
    try:
        if threading.current_thread() is threading.main_thread():  # others may not
            signal.signal(signal.SIGTERM, handler)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # ours counts files, in a log as well
        yield ray
    finally:
        ray.shutdown()


class _Predictor:
    """What runs in an actor."""

    def __init__(self, job: _Job, cores: int) -> None:
        self._job, self._cores = job, cores

    def __call__(self, task: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Write the file of a chunk; an error that the user can mend ends the run, other errors Ray reports."""
        number, failed, error = int(task["chunk"][0]), 0, ""
        try:
            failed = self._write(number, pickle.loads(zlib.decompress(task["photos"][0])))
        except UserError as sentence:
            error = str(sentence)
        return {"chunk": [number], "failed": [failed], "error": [error]}

    @cached_property
    def _loaded(self) -> tuple[Scorer, Decoder]:
        """The model; not loaded by the constructor, whose errors Ray answers by trying again."""
        job = self._job
        self._look_around()
        vars(sys.modules["__main__"]).pop("__file__", None)  # Ray's script, which decoding processes need not run
        os.environ["OMP_NUM_THREADS"] = str(self._cores)
        share_cores()  # before torch is loaded
        scorer = load_scorer(job.folder)
        if fingerprint(scorer.info) != job.depends["bundle"]:
            raise UserError(f"{job.folder} on {socket.gethostname()} is another model; give all machines the same one.")
        return scorer, decoder_of(job.request, job.inputs, scorer.info, scorer.resize)

    def _look_around(self) -> None:
        """`UserError` where this machine does not see what it should: all photos would seem to be missing."""
        job = self._job
        with suppress(OSError):  # absolute paths can do without
            os.chdir(job.place)
        if unseen := [path for path in job.landmarks if not path.exists()]:
            raise UserError(
                f"{socket.gethostname()} does not see {unseen[0]}; photos, bundle and --out must lie where all "
                "machines of the cluster see them."
            )

    def _write(self, number: int, photos: list[Photo]) -> int:
        """Returns how many photos could not be read."""
        job, (scorer, decoder) = self._job, self._loaded
        workers = max(2, job.workers or self._cores)  # not this process alone, which a decoder may crash
        rows: list[Row] = []
        for scored in score_decoded(scorer, decode_all(decoder, photos, workers)):
            rows += rows_of(scored, photos[len(rows) : len(rows) + len(scored.seen)], job.answers)
        unreadable = {at: row["file"] for at, row in enumerate(rows) if "error" in row}
        about = {"depends": job.depends, "chunk": number, "unreadable": unreadable}
        name = str(scorer.info["name"])
        metadata = {"model": name, "sha256": scorer.info["sha256"], KEY: json.dumps(about)}
        result = Result(job.request, job.answers, name, scorer.info["taxonomy"])
        try:
            with atomic_path(job.request.out / _name(number)) as temporary:
                write_parquet(temporary, zip(photos, rows, strict=True), result, metadata)
        except OSError as error:
            raise UserError(f"{job.request.out} cannot be written: {error.strerror or error}.") from None
        return len(unreadable)
