"""Authentication of all requests to a vLLM server that `drpt.rollouts.serve` started."""

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

TOKEN_VARIABLE = "VLLM_API_KEY"


class RequestGuard:
    """ASGI middleware that refuses requests without the token on every path; without a token of its own it refuses all.

    vLLM's own check covers only the generating paths, not those that change weights or call methods of the worker. Requests
    that a browser sends for a web page are always refused.
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
        elif scope["type"] != "lifespan":  # web sockets are not used
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
    # All digests have the same length, so that their comparison does not reveal the token's.
    return hashlib.sha256(text).digest()
