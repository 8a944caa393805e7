"""The secret token of a rollout server: created when it starts, and stored where clients of the same user find it.

Every user of a shared machine can reach its ports, and whoever reaches a rollout server can replace its weights.
`drpt.rollouts.serve` therefore creates a token for every server that was not given one and stores it in a file that only its
user can read; `drpt.rollouts.server_connection` reads it there. The token appears on no command line, in no configuration and
in no log.
"""

import json
import os
import secrets
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.network import is_loopback, resolve

CLIENT_VARIABLE = "DRPT_SERVER_TOKEN"  # environment variable that client and server read unless another one is named
_NUM_BYTES = 32
_TOKEN, _ABOUT = ".token", ".json"  # suffixes of two files: the secret, and the server that it belongs to


@dataclass(frozen=True, slots=True)
class LeftToken:
    """A token and its file; the token is not part of the representation."""

    token: str = field(repr=False)
    path: Path


def check_token(token: str, origin: str) -> str:
    """Require that a token can be sent in a request header.

    Args:
        token: Secret text.
        origin: Source of the token, for the message.

    Returns:
        The token, unchanged.

    Raises:
        RolloutError: The token is empty, or has spaces, line breaks or non-ASCII characters.
    """
    if not (token and token.isascii() and token.isprintable()) or " " in token:
        raise RolloutError(f"The token in {origin} must be printable ASCII without spaces; check it for a line break.")
    return token


def leave_token(host: str, port: int) -> LeftToken:
    """Create a token for a server that is about to start, and store it for clients of the same user.

    It replaces the token of an earlier server at the same port of this machine.

    Args:
        host: Address that the server listens on; 0.0.0.0 and :: mean all addresses of this machine.
        port: Port that the server listens on.

    Returns:
        The token and its file, which only the user can read.

    Raises:
        OSError: The file cannot be written, or the host cannot be resolved.
    """
    path = _file_of(port)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(_NUM_BYTES)
    _write_for_oneself(path, token)
    record = {"machine": socket.gethostname(), "addresses": _addresses_of(host), "port": port}
    _write_for_oneself(path.with_suffix(_ABOUT), json.dumps(record))
    return LeftToken(token, path)


def _write_for_oneself(path: Path, text: str) -> None:
    """Write a file that other users can never read, whatever the umask."""
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(half, path)


def forget_token(port: int) -> None:
    """Remove the token of an earlier server, which clients would otherwise send to its successor.

    Args:
        port: Port of the server on this machine.
    """
    for suffix in (_ABOUT, _TOKEN):
        _file_of(port).with_suffix(suffix).unlink(missing_ok=True)


def find_token(addresses: Sequence[str], port: int) -> LeftToken | None:
    """Find the token that a server stored for this user.

    Machines may share the folder. A server on another machine is identified by the address it listens on, a server on this
    machine also by any loopback address.

    Args:
        addresses: Numeric addresses of the server.
        port: Port of the server.

    Returns:
        The token, or None if no server of this user stored one for these addresses.

    Raises:
        RolloutError: The file is damaged, or other users can read or change it.
    """
    is_here = all(map(is_loopback, addresses))
    for path in sorted(token_folder().glob(f"*_{port}{_ABOUT}")):
        try:
            about = json.loads(_read(path))
            is_its_machine = about["machine"] == socket.gethostname()
            reachable = {str(address) for address in about["addresses"] if not is_loopback(str(address))}
        except (ValueError, KeyError, TypeError):
            raise RolloutError(f"{path} is damaged: remove it and start the server again.") from None
        if (is_here and is_its_machine) or not reachable.isdisjoint(addresses):
            secret = path.with_suffix(_TOKEN)
            return LeftToken(check_token(_read(secret), str(secret)), secret)
    return None


def token_folder() -> Path:
    """The folder of this user's tokens: ``$XDG_STATE_HOME/drpt/servers``, by default under ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "drpt" / "servers"


def _file_of(port: int) -> Path:
    return token_folder() / f"{socket.gethostname()}_{port}{_TOKEN}"


def _addresses_of(host: str) -> list[str]:
    """Numeric addresses at which a server can be reached."""
    return resolve(socket.gethostname() if host in {"0.0.0.0", "::"} else host)


def _read(path: Path) -> str:
    try:
        status = path.stat()
        text = path.read_text()
    except OSError as error:
        raise RolloutError(
            f"{path}, the token of one of your servers, cannot be read ({error.strerror}): start the server again."
        ) from None
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise RolloutError(
            f"{path} belongs to a server's token, but other users can read or change it. Remove it and start the server again."
        )
    return text
