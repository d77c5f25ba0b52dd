"""A `python` that has imported the libraries already: `-m MODULE`, `-c CODE` and `SCRIPT.py` fork one process.

Importing torch and timm takes a stage five seconds of a core, and its work on a small project a fraction of one. A fork
shares the libraries and nothing else: it imports florafauna from the folder it is started in or from PYTHONPATH, has
the environment, the arguments and the streams of the command, and ends as Python ends; killed, it ends, too. It has
another number than the command, so signals do not reach it, and what libraries read from the environment when they are
imported is what this process had.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    "jinja2", "pandas", "PIL.Image", "pyarrow.parquet", "pydantic", "rich.console",
    "safetensors.torch", "scipy.stats", "sklearn.linear_model", "sklearn.metrics", "timm", "torchvision", "yaml",
)  # fmt: skip
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
if sys.argv[1:2] not in (["-m"], ["-c"]) and not "".join(sys.argv[1:2]).endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode())
    server.shutdown(socket.SHUT_WR)
    code = int(server.recv(16) or 1)
if code < 0:
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def quick_python() -> tempfile.TemporaryDirectory[str]:
    """A folder with a `python` to put first on the path; the process that it forks ends with this one."""
    folder = tempfile.TemporaryDirectory(prefix="python-")
    client, address = Path(folder.name, "python"), str(Path(folder.name, "socket"))
    command = [sys.executable, __file__, address]
    one_thread = {
        "OMP_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }  # pyarrow's is a second
    environment = os.environ | one_thread
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    return folder


def quick() -> str:
    """The `python` to start a command with: this one, where there are no forks."""
    return str(Path(quick_python().name, "python")) if sys.platform == "linux" else sys.executable


def next_connection(address: str) -> socket.socket:
    """Fork at every connection; returns in the new process alone, and ends this one when standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return connection
            connection.close()
    sys.exit()


def waited_for(child: int, client: socket.socket) -> int:
    """How a process ended, killed when the client is: its code, or the number of the signal, negative."""
    ended, events = os.pidfd_open(child), select.poll()
    events.register(ended, select.POLLIN)
    events.register(client, 0)  # which tells that both of its directions are closed
    if ended not in dict(events.poll()):
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become(connection: socket.socket) -> str:
    """Fork again: the child takes over the client's streams, folder, environment and arguments and returns.

    What it returns is -m, -c, or "" for a script.
    """
    with connection:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        with connection.makefile() as said:
            folder, environment, arguments = json.load(said)
        if child := os.fork():
            code = waited_for(child, connection)
            with suppress(OSError):  # the client is gone
                connection.sendall(str(code).encode())
            os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    begun, *sys.argv = arguments if arguments[0].startswith("-") else ["", *arguments]
    first = folder if begun else str(Path(folder, sys.argv[0]).parent)
    sys.path[:1] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return begun


if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    assert "florafauna" not in sys.modules
    gc.freeze()
    begun = become(next_connection(sys.argv[1]))
    if begun == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif begun == "-c":
        code, sys.argv[0] = sys.argv[0], "-c"
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(code, vars(sys.modules["__main__"]))
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
