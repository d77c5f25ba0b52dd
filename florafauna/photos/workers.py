"""Worker processes: told once what to do, and a sentence where none can be started."""

import ctypes
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from copy import deepcopy
from itertools import islice
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from florafauna.base.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")

AHEAD = 4  # tasks in flight for each process

_work: Callable[[Any], Any] | None = None  # what this process does with each task


class Workers(Generic[Task, Result]):
    """Processes that do `work`, which is sent to each once, so that what it opens is opened once a process.

    `modules` are imported before they are started, for all of them; `prepare` runs first in each. `forked` ones are
    copies of this process, there in milliseconds and not in a second; since such a copy could inherit a lock that
    another thread holds, their `work` must need nothing that has threads of its own (torch, Arrow).
    """

    def __init__(
        self,
        count: int,
        modules: Sequence[str],
        work: Callable[[Task], Result],
        prepare: Callable[[], None] | None = None,
        forked: bool = False,
    ) -> None:
        _return_freed()
        context = get_context("fork" if forked and sys.platform == "linux" else "forkserver")
        context.set_forkserver_preload(list(modules))  # imports once for all workers
        self._pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(work, prepare))
        self._count = count

    def __enter__(self) -> Self:
        """`UserError` where processes cannot start, which would otherwise look like a crash of the first task."""
        try:
            with warnings.catch_warnings():
                # of forks beside idle threads of BLAS; see `forked`
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pool.submit(os.getpid).result()
        except BrokenProcessPool:
            self._pool.shutdown()
            raise UserError(
                "worker processes cannot start, their errors are above; in a script of your own, put what it runs "
                'below `if __name__ == "__main__":`, because each process imports the script anew.'
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """`work` of each task, in order, a bounded number of tasks ahead; raises as the result of `submit` does."""
        return in_flight(self.submit, tasks, self._count)

    def submit(self, task: Task) -> Future[Result]:
        """Have `work(task)` done; a `BrokenProcessPool` from its result says that a process died."""
        return self._pool.submit(_do, task)


def in_flight(submit: Callable[[Task], Future[Result]], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """The results of `tasks`, in order; a bounded number is submitted ahead."""
    coming = iter(tasks)
    flying = deque(submit(task) for task in islice(coming, AHEAD * workers))
    while flying:
        yield flying.popleft().result()
        flying.extend(submit(task) for task in islice(coming, 1))


def one_thread() -> None:
    """Of torch, where it is loaded, in a process of which every core has one."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _return_freed() -> None:
    """Give back what this process has freed and its allocators keep: its children need memory now."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def map_despite_crashes(
    start: Callable[[int], Workers[Sequence[Item], list[Result]]],
    count: int,
    chunks: int,
    chunk: Callable[[int], Sequence[Item]],
    crashed: Callable[[Item], Result],
) -> Iterator[list[Result]]:
    """The results of `chunk(0)`, `chunk(1)`, … of `chunks`, by `count` processes, which `start(count)` makes.

    An item that ends its process (a decoder's crash) is found by halving, and its result is `crashed(item)`.
    """
    done = 0
    while done < chunks:
        with start(min(count, chunks - done)) as workers:
            try:
                for results in workers.map(map(chunk, range(done, chunks))):
                    yield results
                    done += 1
            except BrokenProcessPool:
                pass
        if done < chunks:
            yield _by_halves(start, chunk(done), crashed)
            done += 1


def _by_halves(
    start: Callable[[int], Workers[Sequence[Item], list[Result]]],
    items: Sequence[Item],
    crashed: Callable[[Item], Result],
) -> list[Result]:
    with start(1) as worker:
        try:
            return worker.submit(items).result()
        except BrokenProcessPool:
            pass
    if len(items) == 1:
        return [crashed(items[0])]
    middle = len(items) // 2
    return _by_halves(start, items[:middle], crashed) + _by_halves(start, items[middle:], crashed)


def _begin(work: Callable[[Any], Any], prepare: Callable[[], None] | None) -> None:
    global _work
    _work = deepcopy(work)  # as if it had been sent: a fork shares open files, and where they are read, with its parent
    if prepare is not None:
        prepare()


def _do(task: Any) -> Any:
    assert _work is not None
    return _work(task)
