"""Requests to a server on this machine or in a private network, with a token that is never shown."""

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
_SHOWN_CHARACTERS = 400  # of an answer that is quoted in an error


class ServerConnection:
    """Asks one server for JSON; safe to use from several threads.

    Setting up a connection is tried again, a request that was sent never is: the server may have acted on it. The token
    is in no attribute's text, no log and no error.
    """

    def __init__(self, url: str, token_variable: str | None, remedy: str) -> None:
        """Check the address and find the token; nothing is sent.

        Args:
            url: ``http://HOST:PORT`` or https.
            token_variable: Environment variable with the token; null = ``DRPT_SERVER_TOKEN`` where that is set, else what a
                server of this user's left (see `drpt.rollouts.server_token`), else none is sent.
            remedy: What an error tells the user to do.

        Raises:
            RolloutError: The address is public, unknown or no address, or the token is missing.
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
            method: GET or POST.
            path: With the query.
            body: What is sent as JSON; null = nothing.
            seconds: Longest silence; null = for ever, until `stop` is called elsewhere.

        Returns:
            The answer's JSON, null for an empty one.

        Raises:
            RolloutError: No connection, no answer, or another status than 200.
        """
        asked = f"{method} {path}"
        connection = self._connect(asked)
        link = connection.sock  # the connection forgets it while an answer is read
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
            raise self.error(asked, f"answered no JSON: {text}") from None

    def error(self, asked: str, answer: str, *, is_token_wrong: bool = False) -> RolloutError:
        """An error that names the server, what it was asked, what came back (shortened) and what to do."""
        if self._token is not None:
            answer = answer.replace(self._token, "***")
        if len(answer) > _SHOWN_CHARACTERS:
            answer = f"{answer[:_SHOWN_CHARACTERS]} …"
        remedy = f"{self._about_token()} {self._remedy}" if is_token_wrong else self._remedy
        return RolloutError(f"{self.url}, asked for {asked}, {answer}\n{remedy}")

    def _about_token(self) -> str:
        """Where the right token is to be found, when the server has refused ours."""
        if self._token is None:
            return (
                f"It wants a token, and none was found: a server of yours on this machine leaves one in {token_folder()}; "
                f"that of another machine or user goes into the environment variable {CLIENT_VARIABLE}."
            )
        return f"Its token is not the one in {self._origin}: put the server's token there."

    def stop(self) -> None:
        """End every request under way, and refuse new ones until `restart`."""
        with self._lock:
            self._is_stopped = True
            for link in self._open:
                try:
                    link.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has ended by itself
                    continue

    def restart(self) -> None:
        """Take requests again."""
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
        # A name can point elsewhere by now: the token goes to an address that was looked at, or nowhere.
        if not is_private(peer := str(connection.sock.getpeername()[0])):
            connection.close()
            raise self.error(asked, f"is at {peer} now, a public address; nothing was sent")
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
            f"rollout.url holds a user or password; put the server's token into the environment variable {CLIENT_VARIABLE}."
        )
    form = f"rollout.url={url!r} must read http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:8000."
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
        raise RolloutError(f"rollout.url={url!r}: the host {host} is not known ({error}); check the name.") from None
    public = [address for address in addresses if not is_private(address)]
    if public:
        raise RolloutError(
            f"rollout.url={url!r} leads to {public[0]}, which is neither this machine nor a private network (10/8, 172.16/12, "
            "192.168/16, fc00::/7). Prompts, weights and the token stay within one: tunnel the port (ssh -L "
            f"{port}:127.0.0.1:{port} {host}) and use http://127.0.0.1:{port}."
        )
    return parts.scheme == "https", host, port, addresses


def _token_for(addresses: list[str], port: int, variable: str | None) -> tuple[str | None, str]:
    """The token to send, and where it is from, in words."""
    if variable is None and not os.environ.get(CLIENT_VARIABLE):
        left = find_token(addresses, port)
        return (None, "") if left is None else (left.token, str(left.path))
    name = variable or CLIENT_VARIABLE
    token = os.environ.get(name)
    if not token:
        raise RolloutError(
            f"rollout.token_variable={name}: this environment variable is not set; put the server's token into it."
        )
    return check_token(token, name), name
