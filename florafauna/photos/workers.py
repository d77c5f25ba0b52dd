"""Worker processes: told once what to do, a sentence where none can be started, and none outlives its parent."""

import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import islice
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from florafauna.base.errors import UserError
from florafauna.base.memory import return_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")

AHEAD = 4  # tasks in flight for each process
MOST_ON_WINDOWS = 61  # processes, because one waits for them all
GRACE = 5.0  # seconds for the task at hand, where the parent has no use for further ones

_work: Callable[[Any], Any] | None = None  # what this process does with each task
_ending = threading.Event()  # tasks that were sent ahead are passed over


class Workers(Generic[Task, Result]):
    """Processes that do `work`, which is sent to each once, so that what it opens is opened once a process.

    `modules` are imported before they are started, for all of them; `prepare` runs first in each. `forked` ones are
    copies of this process, there in milliseconds and not in a second; since such a copy could inherit a lock that
    another thread holds, their `work` must need nothing that has threads of its own (torch, Arrow). Where the system
    cannot fork (Windows), each is a new Python that imports for itself.

    They end when their parent does, however it ends: each waits for the end of a pipe that only the parent holds open.
    (Linux's death signal would not do, as it comes from the process that forked them, which is multiprocessing's.)
    """

    def __init__(
        self,
        count: int,
        modules: Sequence[str],
        work: Callable[[Task], Result],
        prepare: Callable[[], None] | None = None,
        forked: bool = False,
    ) -> None:
        return_freed_memory()
        method = _start_method(forked)
        context = get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(list(modules))  # imports once for all workers
        lifeline, self._held = context.Pipe(duplex=False)
        arguments = (work, prepare, lifeline, self._held if method == "fork" else None)
        self._count = min(count, MOST_ON_WINDOWS) if sys.platform == "win32" else count
        self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin, initargs=arguments)

    def __enter__(self) -> Self:
        """`UserError` where processes cannot start, which would otherwise look like a crash of the first task."""
        try:
            with warnings.catch_warnings(), _interrupts_delayed():
                # of forks beside idle threads of BLAS; see `forked`
                warnings.simplefilter("ignore", DeprecationWarning)
                first = self._pool.submit(os.getpid)
            first.result()
        except BrokenProcessPool:
            self._end(at_once=True)
            raise UserError(
                "worker processes cannot start, their errors are above; in a script of your own, put what it runs "
                'below `if __name__ == "__main__":`, because each process imports the script anew.'
            ) from None
        except BaseException:  # Ctrl-C
            self._end(at_once=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=error is not None)

    def _end(self, at_once: bool) -> None:
        """`at_once` as well where the pool broke: Python's would wait for ever for a process that it was starting then.

        (It terminates those it knows and joins those it has: seen with 3.11's forkserver.)
        """
        if at_once:
            self._held.close()
        self._pool.shutdown(cancel_futures=True)
        self._held.close()

    def map(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """`work` of each task, in order, a bounded number of tasks ahead; raises as the result of `submit` does."""
        return in_flight(self.submit, tasks, AHEAD * self._count)

    def submit(self, task: Task) -> Future[Result]:
        """Have `work(task)` done; a `BrokenProcessPool` from its result says that a process died."""
        with _interrupts_delayed():
            return self._pool.submit(_do, task)


def in_flight(submit: Callable[[Task], Future[Result]], tasks: Iterable[Task], ahead: int) -> Iterator[Result]:
    """The results of `tasks`, in order; so many are in flight at once."""
    coming = iter(tasks)
    flying = deque(submit(task) for task in islice(coming, ahead))
    while flying:
        yield flying.popleft().result()
        flying.extend(submit(task) for task in islice(coming, 1))


def one_thread() -> None:
    """Of torch, where it is loaded, in a process of which every core has one."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def stop_server() -> None:
    """End the process that worker processes are forked from, which holds 75 MB of imports for further ones.

    Python has no public way and would keep it until the end; where one is needed again, it is started anew.
    """
    server: Any = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    with suppress(AttributeError, OSError):
        server._stop()


def _start_method(forked: bool) -> str:
    """How this system starts processes; macOS can fork, but its libraries do not survive it."""
    if forked and sys.platform == "linux" and "fork" in get_all_start_methods():
        return "fork"
    return "forkserver" if "forkserver" in get_all_start_methods() else "spawn"


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
        try:
            with start(min(count, chunks - done)) as workers:
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
    try:
        with start(1) as worker:
            return worker.submit(items).result()
    except BrokenProcessPool:
        pass
    if len(items) == 1:
        return [crashed(items[0])]
    middle = len(items) // 2
    return _by_halves(start, items[:middle], crashed) + _by_halves(start, items[middle:], crashed)


@contextmanager
def _interrupts_delayed() -> Iterator[None]:
    """For the start of processes: half started, one would complain of what its parent has taken back.

    Those started within never see Ctrl-C, which a terminal sends to all processes: their parent ends them.
    """
    masks = hasattr(signal, "pthread_sigmask")  # Windows has none: there `_begin` ignores Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()  # inherited
    received: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # other threads may not set handlers, and get no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):  # what the system does by itself needs no care
                handlers[number] = signal.signal(number, lambda got, frame: received.append(got))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for got in received:
            signal.raise_signal(got)


def _begin(
    work: Callable[[Any], Any], prepare: Callable[[], None] | None, lifeline: Connection, held: Connection | None
) -> None:
    """`held` is the parent's end of `lifeline`, where a fork has a copy of it."""
    global _work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if held is not None:
        held.close()
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    _work = deepcopy(work)  # as if it had been sent: a fork shares open files, and where they are read, with its parent
    if prepare is not None:
        prepare()


def _end_with_parent(lifeline: Connection) -> None:
    """At once where the parent is dead; else after the task at hand: half a result would block who reads it."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    _ending.set()
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel], GRACE)
    os._exit(1)


def _do(task: Any) -> Any:
    assert _work is not None
    return None if _ending.is_set() else _work(task)
