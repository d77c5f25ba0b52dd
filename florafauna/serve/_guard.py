"""What every request must look like, and the security headers of every response."""

import asyncio
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
ANSWER_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Refuses requests with another host name or from another site, before their bodies are read.

    A site whose name resolves to this machine (DNS rebinding) sends its own name as the host: only IP addresses,
    `localhost` and the name given by --host are accepted. No other site may send photos or embed training photos.
    """

    def __init__(self, app: App, host: str) -> None:
        self._app = app
        self._names = {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        answered = False

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            answered = True
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in ANSWER_HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await _answer(send_guarded, 403, refused, "forbidden")
            return
        try:
            await self._app(scope, receive, send_guarded)
        except asyncio.CancelledError:  # the server has been told to end, and a photo is still arriving
            if not answered:
                await _answer(send_guarded, 503, "The server has been ended.", "")

    def _refused(self, scope: Scope) -> str | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0].lower(), scope["server"][1]):
            return "This server only answers to its own address; open the one that it printed when it started."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", ["none"])
        opened = scope["method"] == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
        if origin not in (None, [f"http://{hosts[0]}"]) or not (opened or site in (["same-origin"], ["none"])):
            return "Requests from other sites are refused."
        return None

    def _is_ours(self, host: str, port: int) -> bool:
        found = HOST.fullmatch(host)
        if found is None or int(found[2] or 80) != port:
            return False
        if found[1] in self._names:
            return True
        try:
            ipaddress.ip_address(found[1].strip("[]"))
        except ValueError:
            return False
        return True


async def _answer(send: Send, status: int, error: str, reason: str) -> None:
    body = json.dumps({"error": error, "reason": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
