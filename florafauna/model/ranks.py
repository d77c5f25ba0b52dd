"""The processes that do one job together, one a GPU, as torchrun starts them (torch.distributed); usually just one.

All run the same code. What only one may do (writing files) is done `by_first`, what is shared out is done `by_all`; an
error of one is raised by all, so that none waits for ever.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

Result = TypeVar("Result")
PATIENCE = timedelta(days=1)  # one may be busy for hours while others wait; who is lost is noticed by the launcher


class LostError(Exception):
    """Another process of the job has ended."""


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that the launcher's variables (RANK, WORLD_SIZE, …) speak of, within the block.

    Raises `LostError` where another one ends in the meantime.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    backend = "gloo"
    if accelerator is not None:
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count())
        backend = f"cpu:gloo,{accelerator.type}:{dist.get_default_backend_for_device(accelerator.type)}"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostError from error
        raise
    dist.destroy_process_group()


def ranks() -> int:
    """How many processes do this job."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def by_all(work: Callable[[], Result]) -> list[Result]:
    """What `work` returns in each process, in their order; raises what it raises in any of them."""
    if ranks() == 1:
        return [work()]
    outcomes: list[Any] = [None] * ranks()
    dist.all_gather_object(outcomes, _tried(work))
    return [_result(each) for each in outcomes]


def by_first(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises in the first process, which alone does it."""
    if ranks() == 1:
        return work()
    outcome: list[Any] = [_tried(work) if rank() == 0 else None]
    dist.broadcast_object_list(outcome, src=0)
    result: Result = _result(outcome[0])
    return result


def part(count: int, size: int) -> range:
    """This process's share of `count` things in batches of `size`: neighbours, and whole batches."""
    batches = -(-count // size)
    first, last = (number * batches // ranks() for number in (rank(), rank() + 1))
    return range(first * size, min(last * size, count))


def mirrored_part(size: int) -> np.ndarray:
    """This process's places in a training batch: with each its counterpart from the end, which mixup mixes it with.

    >>> mirrored_part(4)
    array([0, 1, 2, 3])
    """
    half = -(-size // 2)
    first, last = (number * half // ranks() for number in (rank(), rank() + 1))
    mine = np.arange(first, last)
    return np.union1d(mine, size - 1 - mine)


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _tried(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return _Raised(error)


def _result(outcome: Any) -> Any:
    if not isinstance(outcome, _Raised):
        return outcome
    raise outcome.error
