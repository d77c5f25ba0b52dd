"""Serve the page: a socket, a bundle, and uvicorn."""

import contextlib
import errno
import socket
from pathlib import Path

import uvicorn

from florafauna.base.errors import UserError, plain_line
from florafauna.predict.scorer import load_scorer
from florafauna.serve._app import Service, make_app

GRACE = 2  # seconds for photos that are arriving when the server is told to end
TRAIN, CACHE = Path("data/processed/train"), Path(".florafauna/neighbours")


def serve(bundle: Path, host: str, port: int) -> None:
    """Serve until interrupted; `UserError` if the address is not available or the bundle cannot be read.

    >>> serve(Path("models/vit"), "127.0.0.1", 8765)  # doctest: +SKIP
    vit: http://127.0.0.1:8765 (Ctrl-C ends)
    """
    with contextlib.closing(_bound(host, port)) as listening:
        service = Service(load_scorer(bundle), TRAIN, CACHE)
        config = uvicorn.Config(
            make_app(service, host),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
        shown = f"[{host}]" if ":" in host else host
        at = f"http://{shown}:{listening.getsockname()[1]}"
        print(plain_line(f"{service.scorer.info['name']}: {at} (Ctrl-C ends)"), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is noticed before a model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host} is not an address of this machine; leave it out, or use 0.0.0.0.") from None
    listening = socket.socket(family, kind, protocol)
    try:
        # Windows' SO_REUSEADDR would let two programs have the port.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listening.setsockopt(socket.SOL_SOCKET, alone, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        what = {
            errno.EADDRINUSE: f"port {port} is in use; stop what uses it, or choose another with --port",
            errno.EACCES: f"port {port} needs an administrator; choose one above 1023 with --port",
            errno.EADDRNOTAVAIL: f"--host {host} is not an address of this machine; leave it out, or use 0.0.0.0",
        }.get(error.errno or 0, f"{host}:{port} cannot be used: {error.strerror}")
        raise UserError(f"{what}.") from None
    return listening
