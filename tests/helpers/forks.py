"""A `python` for the small projects that has imported the libraries already: `python -m MODULE` forks one process.

Importing torch and timm takes a stage five seconds of a core, and its work on a small project a fraction of one. A fork
shares the libraries and nothing else: it imports florafauna from the folder it is started in, has the environment, the
arguments and the streams of the command, and ends as Python ends.
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
from functools import cache
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    "jinja2", "pandas", "PIL.Image", "pyarrow.parquet", "pydantic", "rich.console",
    "safetensors.torch", "scipy.stats", "sklearn.linear_model", "sklearn.metrics", "timm", "torchvision", "yaml",
)  # fmt: skip
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]]).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(16)
sys.exit(int(code) if code else 1)
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


def become(connection: socket.socket) -> None:
    """Fork again: the child takes over the client's streams, folder, environment and arguments and returns."""
    with connection:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        with connection.makefile() as said:
            folder, environment, arguments = json.load(said)
        if child := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            connection.sendall(str(code if code >= 0 else 128 - code).encode())
            os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv = arguments


if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    assert "florafauna" not in sys.modules
    gc.freeze()
    become(next_connection(sys.argv[1]))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
