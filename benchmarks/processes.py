"""Epochs of training in several processes: one training shared by all, or a training in each."""

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import MethodType

import torch
from torch import nn

from benchmarks.training_parts import parts_of
from florafauna.base.files import sha256_file, write_json
from florafauna.model.compute import reuse_freed_memory
from florafauna.model.ranks import joined
from florafauna.training._feeds import Feed, Photos, choose_feed
from florafauna.training._parallel import _common_batch_norm
from florafauna.training._parts import Parts
from florafauna.training._resume import State
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train_epoch
from florafauna.training.trainable import count_parameters


@dataclass(frozen=True)
class Timed:
    """Epochs of one training: their seconds, and the megabytes of gradients that each step makes."""

    seconds: list[float]
    megabytes: float


def epochs_of(
    jobs: Sequence[TrainingJob],
    epochs: Sequence[int],
    processes: int,
    folder: Path,
    together: bool = True,
    one_core: bool = False,
) -> list[Timed]:
    """Train some epochs of each job, one job after another; those that count follow one that does not.

    `together`, the processes share each training. Otherwise each does all of it by itself, beside the others, and an
    epoch takes as long as the slowest takes; batch norms are then computed as if they were shared. `one_core` gives
    each process a core and a thread, and no GPU.
    """
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier, port = context.Barrier(processes), _free_port()
    given = (list(jobs), list(epochs), processes, port, barrier, folder, together, one_core)
    started = [context.Process(target=_one, args=(number, *given)) for number in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError(f"a training failed, in one of {processes} processes")
    found = [json.loads(_result(folder, number).read_text(encoding="utf-8")) for number in range(processes)]
    return [
        Timed([max(each) for each in zip(*(of["seconds"] for of in same), strict=True)], same[0]["megabytes"])
        for same in zip(*found, strict=True)
    ]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port: int = free.getsockname()[1]
    return port


def _result(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


# --- in a process of its own ---


def _one(
    number: int,
    jobs: list[TrainingJob],
    epochs: list[int],
    processes: int,
    port: int,
    barrier: Barrier,
    folder: Path,
    together: bool,
    one_core: bool,
) -> None:
    if one_core:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})
        torch.set_num_threads(1)
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    reuse_freed_memory()
    scratch = folder if together else folder / str(number)
    try:
        with joined() if together else nullcontext():
            found = [
                _epochs(replace(job, scratch=scratch / str(at)), count, barrier, together)
                for at, (job, count) in enumerate(zip(jobs, epochs, strict=True))
            ]
    except Exception:
        barrier.abort()
        raise
    write_json(_result(folder, number), found)


def _epochs(job: TrainingJob, count: int, barrier: Barrier, together: bool) -> dict[str, object]:
    def feed(photos: Photos, model: nn.Module) -> Feed:
        if not together:
            _as_if_shared(model)
        return choose_feed(photos, model, sha256_file(job.initial), job.scratch / "features")[0]

    parts, state = parts_of(job, feed), State()
    seconds = []
    for _ in range(count + 1):
        barrier.wait()
        seconds.append(_epoch(parts, state))
    return {"seconds": seconds[1:], "megabytes": 4 * count_parameters(parts.model)[1] / 1e6}


def _epoch(parts: Parts, state: State) -> float:
    start = time.monotonic()
    train_epoch(parts, state)  # reads the loss at its end, and so waits for a GPU
    seconds = time.monotonic() - start
    state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
    return seconds


def _as_if_shared(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = MethodType(_common_batch_norm, module)  # type: ignore[method-assign]
