"""From photos to predictions in a Python that lacks what Windows lacks: `python windows.py` in a project's folder.

Worker processes are new Pythons that import this file, as Windows has them do, so that each lacks the same. What Python
and torch are built on here (os.waitpid, signal.SIGCHLD, socket.AF_UNIX, ...) has to stay.
"""

import errno
import multiprocessing
import multiprocessing.context
import os
import runpy
import shutil
import signal
import subprocess  # noqa: F401 before msvcrt is there, by which it would tell Windows
import sys
import types
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
OF_OS = (
    "O_DIRECTORY", "O_NOFOLLOW", "chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg",
    "getpgid", "getuid", "killpg", "lchown", "mkfifo", "mknod", "nice", "openpty", "posix_fadvise", "posix_fallocate",
    "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity", "sched_setaffinity", "setsid", "sync", "sysconf",
)  # fmt: skip
OF_SIGNAL = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "alarm", "pthread_sigmask", "setitimer", "sigwait")
OPENED_FOR_WRITING = (os.O_WRONLY, os.O_RDWR)


def pretend() -> None:
    """Take away what Windows has not, and refuse what it refuses: to open folders, to replace what is open, ..."""
    if sys.platform == "win32":
        return
    here = import_module("fcntl")
    sys.modules["msvcrt"] = _msvcrt(here)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    spawn = multiprocessing.context._concrete_contexts["spawn"]
    multiprocessing.context._concrete_contexts = {"spawn": spawn}
    multiprocessing.set_start_method("spawn", force=True)
    multiprocessing.get_all_start_methods = lambda: ["spawn"]

    flush = os.fsync

    def fsync(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if here.fcntl(number, here.F_GETFL) & os.O_ACCMODE not in OPENED_FOR_WRITING:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flush(number)

    def symlink(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "A required privilege is not held by the client")

    os.fsync, os.symlink = fsync, symlink
    os.cpu_count = lambda: 2
    os.environ["LOKY_MAX_CPU_COUNT"] = "2"  # else joblib wonders at a Linux without affinity
    shutil._use_fd_functions = False  # else rmtree opens folders
    sys.addaudithook(_refuse)


def _msvcrt(here: types.ModuleType) -> types.ModuleType:
    """Windows' locks, of bytes from where the file stands, made of those of this machine."""
    module: Any = types.ModuleType("msvcrt")
    module.LK_NBLCK = here.LOCK_EX | here.LOCK_NB
    module.locking = lambda number, mode, count: here.lockf(number, mode, count, 0, os.SEEK_CUR)
    return module


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        nameless = getattr(os, "O_TMPFILE", 0)  # a file in the folder that is opened
        if mode is None and isinstance(path, (str, Path)) and Path(path).is_dir() and flags & nameless != nameless:
            raise PermissionError(errno.EACCES, "Permission denied", path)
    if event in ("os.rename", "os.remove"):
        for path in arguments[: 2 if event == "os.rename" else 1]:
            real = os.path.realpath(os.fsdecode(path))
            if any(held == real or held.startswith(real + os.sep) for held in _held()):
                raise PermissionError(errno.EACCES, "the file is used by a process", os.fsdecode(path))


def _held() -> set[str]:
    """The files that this process has open or mapped, where the system tells."""
    if not Path("/proc/self/maps").exists():
        return set()
    with open("/proc/self/maps", encoding="utf-8") as file:  # noqa: PTH123
        held = {line.split(maxsplit=5)[5].rstrip("\n") for line in file if " /" in line}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            held.add(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
        except OSError:
            continue
    return held


def run(model: str) -> None:
    """Everything from `check` to `predict`, by worker processes wherever there is some."""
    runs = [
        ("split",),
        ("preprocess",),
        ("weights", model),
        ("train", model),
        ("folds", model),
        ("evaluate", model),
        ("compare", model),
    ]
    writing: Any = import_module("florafauna.preprocess._write")
    writing.WORTH_PROCESSES = 2e6  # which the training photos are, and the others are not
    command = import_module("florafauna.commands.cli").main
    command(["check"])
    for stage, *arguments in runs:
        sys.argv = [stage, *arguments]
        runpy.run_module(f"stages.{stage}", run_name="__main__")
    command(["predict", "photos", "--out", "found.csv", "--workers", "2"])


warnings.simplefilter("ignore", EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module=r"(florafauna|stages)\b")
pretend()

if __name__ == "__main__":
    run(sys.argv[1])
