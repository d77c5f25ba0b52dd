"""A hub on this machine: what huggingface_hub asks for is answered from a dictionary."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repositories = Mapping[str, Mapping[str, bytes]]  # files by name, by OWNER/NAME

PROGRAM = """
import json, sys
from pathlib import Path
from florafauna.base.errors import one_sentence_on_error
from florafauna.model.settings import models_of
from florafauna.model.weights import make_initial_weights
for number, model in enumerate(json.loads(sys.argv[1])):
    print(f"--- {number}", flush=True)
    try:
        with one_sentence_on_error():
            (params,) = models_of({"models": {"m": model | {"trainable": "head"}}}, "params.yaml").values()
            make_initial_weights(params.architecture, params.weights, Path(f"{number}.safetensors"))
    except SystemExit:
        pass
"""


@contextmanager
def hub(repositories: Repositories, gated: str | None = None) -> Iterator[str]:
    """Serve repositories, each with one commit; yields the address for HF_ENDPOINT."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *arguments: object) -> None:
            """Nothing is logged."""

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0].strip("/").removeprefix("api/models/")
            owner, name, what, revision, *inside = [*path.split("/"), "", "main"][: max(4, path.count("/") + 1)]
            repository = f"{owner}/{name}"
            if repository == gated:
                return self._refuse(403, "GatedRepo")
            if repository not in repositories:
                return self._refuse(401, "RepoNotFound")
            if revision not in ("main", COMMIT):
                return self._refuse(404, "RevisionNotFound")
            files = repositories[repository]
            if what == "tree":
                rows = [{"type": "file", "path": file, "size": len(data), "oid": "0"} for file, data in files.items()]
                return self._send(json.dumps(rows).encode(), with_body)
            if "/".join(inside) not in files:
                return self._refuse(404, "EntryNotFound")
            return self._send(files["/".join(inside)], with_body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: bytes, with_body: bool) -> None:
            self.send_response(200)
            tag = hashlib.sha256(content).hexdigest()
            for key, value in (("Content-Length", str(len(content))), ("ETag", f'"{tag}"'), ("X-Repo-Commit", COMMIT)):
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                with suppress(OSError):
                    self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def make_weights(folder: Path, models: list[dict], endpoint: str | None = None) -> tuple[list[str], list[str]]:
    """The stage `weights` of each model, in one process with the hub's cache in `folder`; without an endpoint, offline.

    The initial weights are `folder`/0.safetensors, …; returns what was printed for each model, and the refusals.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    checkout = Path(__file__).resolve().parents[2]  # the package need not be installed
    where = {"HF_ENDPOINT": endpoint} if endpoint else {"HF_HUB_OFFLINE": "1"}
    own = {"HF_HOME": str(folder / "hub"), "PYTHONPATH": str(checkout), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", PROGRAM, json.dumps(models)]
    ended = subprocess.run(
        command, cwd=folder, env=inherited | own | where, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    printed = [part.partition("\n")[2].strip() for part in ended.stdout.split("--- ")[1:]]
    return printed, [line for line in ended.stderr.splitlines() if line.startswith("florafauna: ")]
