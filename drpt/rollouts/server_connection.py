"""HTTP requests to a vLLM server on this machine or in a private network, with a secret token. Used by `vllm_server`."""

import json
import os
import socket
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.network import is_loopback, is_private, resolve
from drpt.rollouts.server_token import CLIENT_VARIABLE, check_token, find_token, token_folder

_CONNECT_SECONDS = 10.0
_CONNECT_TRIES = 3
_SHOWN_CHARACTERS = 400  # longest quotation of an answer in an error message


class ServerConnection:
    """Sends requests to one server and reads JSON answers; safe to use from several threads.

    A failed connection is retried, but a request that was sent never is, since the server may have acted on it. The token
    appears in no representation, log or error.
    """

    def __init__(self, url: str, token_variable: str | None, remedy: str) -> None:
        """Check the address and find the token, without sending anything.

        Args:
            url: Address ``http://HOST:PORT`` or ``https://HOST:PORT``.
            token_variable: Environment variable with the token. None = ``DRPT_SERVER_TOKEN`` if set, else the token file of a
                server of this user (see `drpt.rollouts.server_token`), else no token.
            remedy: Advice to the user that ends every error message.

        Raises:
            RolloutError: The address is public, unknown or malformed, or the named variable has no token.
        """
        self.url, self._remedy = url, remedy
        self._is_tls, self._host, self._port, addresses = _checked_address(url)
        self.is_local = all(map(is_loopback, addresses))
        self._token, self._origin = _token_for(addresses, self._port, token_variable)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_stopped = False

    def ask(self, method: str, path: str, body: Any = None, *, seconds: float | None) -> Any:
        """Send one request and wait for its answer.

        Args:
            method: HTTP method: GET or POST.
            path: Path of the request, with its query.
            body: Value to send as JSON; None = no body.
            seconds: Longest time without data, in seconds; None = no limit until another thread calls `stop`.

        Returns:
            The decoded JSON, or None for an empty answer.

        Raises:
            RolloutError: There was no connection, no answer, or a status other than 200.
        """
        asked = f"{method} {path}"
        connection = self._connect(asked)
        link = connection.sock  # kept here: the connection drops its reference while an answer is read
        try:
            link.settimeout(seconds)
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, self._headers())
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise self.error(asked, f"gave no answer ({type(error).__name__}: {error})") from None
        finally:
            with self._lock:
                self._open.discard(link)
            connection.close()
        if answer.status != 200:
            raise self.error(asked, f"answered {answer.status}: {text}", is_token_wrong=answer.status == 401)
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise self.error(asked, f"gave an answer that is not JSON: {text}") from None

    def error(self, asked: str, answer: str, *, is_token_wrong: bool = False) -> RolloutError:
        """An error with the server's address, the request, the answer (shortened) and the remedy."""
        if self._token is not None:
            answer = answer.replace(self._token, "***")
        if len(answer) > _SHOWN_CHARACTERS:
            answer = f"{answer[:_SHOWN_CHARACTERS]} …"
        remedy = f"{self._about_token()} {self._remedy}" if is_token_wrong else self._remedy
        return RolloutError(f"{self.url}, asked for {asked}, {answer}\n{remedy}")

    def _about_token(self) -> str:
        """Where to find the right token, after the server has refused ours."""
        if self._token is None:
            return (
                f"The server requires a token, and none was found. Your own servers on this machine leave it in "
                f"{token_folder()}; for a server of another machine or user, set the environment variable {CLIENT_VARIABLE}."
            )
        return f"Its token is not the one in {self._origin}: put the server's token there."

    def stop(self) -> None:
        """Abort all requests in progress, and refuse new ones until `restart`."""
        with self._lock:
            self._is_stopped = True
            for link in self._open:
                try:
                    link.shutdown(socket.SHUT_RDWR)
                except OSError:  # the request has already ended
                    continue

    def restart(self) -> None:
        """Accept requests again."""
        with self._lock:
            self._is_stopped = False

    def _connect(self, asked: str) -> HTTPConnection:
        kind = HTTPSConnection if self._is_tls else HTTPConnection
        connection = kind(self._host, self._port, timeout=_CONNECT_SECONDS)
        for attempt in range(_CONNECT_TRIES):
            try:
                connection.connect()
                break
            except OSError as error:
                connection.close()
                if attempt == _CONNECT_TRIES - 1:
                    raise self.error(asked, f"cannot be reached ({type(error).__name__}: {error})") from None
                time.sleep(0.5 * 2**attempt)
        # The name may resolve to another address by now; the token must not be sent to a public one.
        if not is_private(peer := str(connection.sock.getpeername()[0])):
            connection.close()
            raise self.error(asked, f"is now at the public address {peer}; nothing was sent")
        with self._lock:
            if self._is_stopped:
                connection.close()
                raise self.error(asked, "was not asked: another request has failed")
            self._open.add(connection.sock)
        return connection

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        return headers if self._token is None else headers | {"Authorization": f"Bearer {self._token}"}


def _checked_address(url: str) -> tuple[bool, str, int, list[str]]:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise RolloutError(
            "rollout.url must not contain a user name or password; put the server's token into the environment variable "
            f"{CLIENT_VARIABLE}."
        )
    form = f"rollout.url={url!r} must have the form http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:8000."
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RolloutError(form) from None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or port is None
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise RolloutError(form)
    try:
        addresses = resolve(host)
    except OSError as error:
        raise RolloutError(f"rollout.url={url!r}: the host {host} cannot be resolved ({error}); check the name.") from None
    public = [address for address in addresses if not is_private(address)]
    if public:
        raise RolloutError(
            f"rollout.url={url!r} leads to {public[0]}, which is neither this machine nor a private network (10/8, 172.16/12, "
            "192.168/16, fc00::/7). Prompts, weights and the token must stay within these: tunnel the port (ssh -L "
            f"{port}:127.0.0.1:{port} {host}) and use http://127.0.0.1:{port}."
        )
    return parts.scheme == "https", host, port, addresses


def _token_for(addresses: list[str], port: int, variable: str | None) -> tuple[str | None, str]:
    """The token to send, and its origin in words."""
    if variable is None and not os.environ.get(CLIENT_VARIABLE):
        left = find_token(addresses, port)
        return (None, "") if left is None else (left.token, str(left.path))
    name = variable or CLIENT_VARIABLE
    token = os.environ.get(name)
    if not token:
        raise RolloutError(
            f"rollout.token_variable={name}: this environment variable is not set; set it to the server's token."
        )
    return check_token(token, name), name
