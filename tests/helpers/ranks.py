"""Several processes that train together on this machine, as torchrun would start them."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from helpers.tiny import Place, params

from florafauna.base.errors import one_sentence_on_error
from florafauna.crossval.crossval import CrossValidation, cross_validate
from florafauna.model.launch import on_all_gpus
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train


def train_by(count: int, jobs: Sequence[TrainingJob | CrossValidation], logs: Path) -> list[int | None]:
    """Do trainings one after another, each by all processes; returns the exit codes. They log to files of `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["florafauna.training.loop"])
    processes = [context.Process(target=_one, args=(rank, count, port, jobs, logs)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _one(rank: int, count: int, port: int, jobs: Sequence[TrainingJob | CrossValidation], logs: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    with (logs / f"{rank}.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        on_all_gpus(lambda: [_do(job) for job in jobs] and None)
        sys.stdout.flush()


def _do(job: TrainingJob | CrossValidation) -> None:
    if isinstance(job, CrossValidation):
        cross_validate(job)
    else:
        train(job)
        Place(job.train.parent).evaluated(job.out, job.timing.parent)


def _die_when_there_is(pattern: str, folder: Path) -> None:
    """By SIGKILL, as soon as a file of this pattern is there."""
    while not list(folder.glob(pattern)):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def main(place: str, folder: str, values: str, dies: str) -> None:
    """A stage: train by as many processes as the variables say, number `dies` of them killed when a state is saved."""
    torch.set_num_threads(1)
    job = Place(Path(place)).job(Path(folder), params(**json.loads(values)))
    if os.environ.get("RANK") == dies:
        state = ("training/*/state.safetensors", job.scratch)
        threading.Thread(target=_die_when_there_is, args=state, daemon=True).start()
    on_all_gpus(lambda: train(job))


if __name__ == "__main__":
    with one_sentence_on_error():
        main(*sys.argv[1:])
