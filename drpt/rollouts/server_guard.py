"""What every request to a vLLM server of ours passes first."""

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

TOKEN_VARIABLE = "VLLM_API_KEY"


class RequestGuard:
    """ASGI middleware: no token, no answer, whatever the path; a server that was given none answers nothing.

    vLLM's own check covers the paths that generate and leaves out the ones that change weights or run a method of the
    worker, which a synced server must offer. Requests that a browser sends for a page of another origin are refused
    with or without a token.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        token = os.environ.get(TOKEN_VARIABLE)
        self._expected = _digest(f"Bearer {token}".encode()) if token else None

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            refusal = self._refusal(dict(scope["headers"]))
            if refusal is not None:
                status, reason = refusal
                await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
                await send({"type": "http.response.body", "body": reason.encode()})
                return
        elif scope["type"] != "lifespan":  # web sockets: nothing of ours uses them
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if b"origin" in headers:
            return 403, "requests from web pages are refused"
        if self._expected is None:
            return 401, "the server was started without a token"
        if hmac.compare_digest(self._expected, _digest(headers.get(b"authorization", b""))):
            return None
        return 401, "the request carries no token or a wrong one"


def _digest(text: bytes) -> bytes:
    # Digests have one length, so that comparing them tells nothing about the token's.
    return hashlib.sha256(text).digest()
