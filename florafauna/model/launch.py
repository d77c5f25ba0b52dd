"""One process a GPU: a stage starts itself again in as many, through torch's elastic launcher or one of the user's.

None of it is a param: a result is not stale because it was made on other hardware.
"""

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from florafauna.base.cores import usable_cores
from florafauna.base.errors import UserError
from florafauna.base.files import write_json
from florafauna.model.ranks import LostError, joined

GPUS, LAUNCH = "FLORAFAUNA_GPUS", "FLORAFAUNA_LAUNCH"
TOLD = "FLORAFAUNA_TOLD"  # set where this module started the processes
LOST = 75  # the exit code of a process that ends because another one is gone


def on_all_gpus(work: Callable[[], None]) -> None:
    """Do `work` in one process a GPU that this one may see; with one GPU or none, in this process.

    `FLORAFAUNA_GPUS` sets the number (without a GPU that of processes on the CPU), `FLORAFAUNA_LAUNCH` a launcher to be
    put before the command, such as `srun torchrun --nnodes 4 --nproc-per-node 8 …`.
    """
    count = _processes()
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _as_one_of_many(work)
    elif launcher := os.environ.get(LAUNCH):
        _launched_by(launcher)
    elif count > 1:
        _launched(count)
    else:
        work()


def _processes() -> int:
    given = os.environ.get(GPUS)
    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if given is None:
        return there
    if not given.isdecimal() or not int(given):
        raise UserError(f"{GPUS} must be a number of GPUs, not '{given}'; correct or unset it.")
    if there and int(given) > there:
        raise UserError(f"{GPUS} is {given}, but this process sees {there} GPUs; lower or unset it.")
    return int(given)


def _as_one_of_many(work: Callable[[], None]) -> None:
    if int(os.environ["RANK"]):
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 for as long as the process lives
    try:
        with joined():
            work()
    except LostError:
        sys.exit(LOST)
    except UserError as error:
        if TOLD not in os.environ:
            raise
        # all may have the same to say: who started them says it once
        write_json(Path(os.environ["TORCHELASTIC_ERROR_FILE"]), {"message": str(error), "timestamp": int(time.time())})
        sys.exit(1)


def _command() -> list[str]:
    """What started this process, for Python: `-m stages.train vit`."""
    spec = sys.modules["__main__"].__spec__
    return sys.argv if spec is None else ["-m", spec.name, *sys.argv[1:]]


def _launched_by(launcher: str) -> None:
    command = [*shlex.split(launcher), *_command()]
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise UserError(f"{LAUNCH}: '{command[0]}' cannot be started ({error.strerror}); correct it.") from None
    if code:
        raise UserError(f"'{shlex.join(command)}' ended with code {code}; what was finished of a training is resumed.")


def _launched(count: int) -> None:
    """Start `count` processes on this machine, and end them all as soon as one has failed."""
    # not above: Windows, which has no signals, has no such launcher
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ[TOLD] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    for logger in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
    )
    try:
        elastic_launch(config, sys.executable)(*_command())
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as failed:
        raise UserError(_why(failed.failures, count)) from None


def _why(failed: Mapping[int, Any], count: int) -> str:
    """The sentence, of torch's `ProcessFailure` by process."""
    failures = sorted(failed.items(), key=lambda item: item[1].timestamp)
    for number, failure in failures:
        if failure.exitcode < 0:
            return (
                f"process {number} of {count} was ended by signal {-failure.exitcode}, so all were; run the same "
                "command again: what was finished of a training is resumed."
            )
        if failure.exitcode == 1 and Path(failure.error_file).is_file():
            return str(failure.message)
    return f"one of {count} processes failed, its error is above; so all were ended."
