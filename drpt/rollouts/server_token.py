"""The secret of a server for rollouts: made when it starts, left where clients of the same user find it by themselves.

On a machine that several people use, everybody can reach a port that listens on it, and whoever reaches a server for
rollouts can replace its weights. `drpt.rollouts.serve` therefore makes a token for every server that was not given one, and
leaves it in a file that its user alone can read; `drpt.rollouts.server_connection` looks there. The token is on no command
line, in no configuration and in no log.
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

CLIENT_VARIABLE = "DRPT_SERVER_TOKEN"  # environment variable that both ends look into when none is named
_NUM_BYTES = 32
_TOKEN, _ABOUT = ".token", ".json"  # the secret alone, and whose it is


@dataclass(frozen=True, slots=True)
class LeftToken:
    """A token in a file; its text is no part of what is shown of it."""

    token: str = field(repr=False)
    path: Path


def check_token(token: str, origin: str) -> str:
    """A token that can travel in a request's header.

    Args:
        token: The secret.
        origin: Where it is from, for the message.

    Returns:
        The token.

    Raises:
        RolloutError: It is empty, or has spaces, line ends or characters beyond ASCII.
    """
    if not (token and token.isascii() and token.isprintable()) or " " in token:
        raise RolloutError(f"The token in {origin} must be printable ASCII without spaces; check for a line's end in it.")
    return token


def leave_token(host: str, port: int) -> LeftToken:
    """Make a token for a server that is about to start, and leave it for clients of the same user.

    An earlier server's token at the same port of this machine is replaced.

    Args:
        host: The address that the server listens on; 0.0.0.0 and :: mean all of this machine's.
        port: The port that it listens on.

    Returns:
        The token and its file, which the user alone can read.

    Raises:
        OSError: The file cannot be written, or the host is not known.
    """
    path = _file_of(port)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(_NUM_BYTES)
    _write_for_oneself(path, token)
    record = {"machine": socket.gethostname(), "addresses": _addresses_of(host), "port": port}
    _write_for_oneself(path.with_suffix(_ABOUT), json.dumps(record))
    return LeftToken(token, path)


def _write_for_oneself(path: Path, text: str) -> None:
    """Nobody else can read the file at any moment, whatever the umask."""
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(half, path)


def forget_token(port: int) -> None:
    """Remove what an earlier server at a port of this machine left: clients would send it to a server with another token.

    Args:
        port: The port.
    """
    for suffix in (_ABOUT, _TOKEN):
        _file_of(port).with_suffix(suffix).unlink(missing_ok=True)


def find_token(addresses: Sequence[str], port: int) -> LeftToken | None:
    """The token that a server left for this user.

    A folder may be shared between machines: a server on another one is known by the address that it listens on, one on this
    machine also by any loopback address.

    Args:
        addresses: Numeric addresses of the server.
        port: The server's port.

    Returns:
        None where no server of this user's left one for the address.

    Raises:
        RolloutError: The file can be read or changed by others, or is damaged.
    """
    is_here = all(map(is_loopback, addresses))
    for path in sorted(token_folder().glob(f"*_{port}{_ABOUT}")):
        try:
            about = json.loads(_read(path))
            is_its_machine = about["machine"] == socket.gethostname()
            reachable = {str(address) for address in about["addresses"] if not is_loopback(str(address))}
        except (ValueError, KeyError, TypeError):
            raise RolloutError(f"{path} is damaged: remove it, and start the server again.") from None
        if (is_here and is_its_machine) or not reachable.isdisjoint(addresses):
            secret = path.with_suffix(_TOKEN)
            return LeftToken(check_token(_read(secret), str(secret)), secret)
    return None


def token_folder() -> Path:
    """Where this user's servers leave their tokens: ``$XDG_STATE_HOME/drpt/servers``, by default under ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "drpt" / "servers"


def _file_of(port: int) -> Path:
    return token_folder() / f"{socket.gethostname()}_{port}{_TOKEN}"


def _addresses_of(host: str) -> list[str]:
    """Numeric addresses by which a server can be reached."""
    return resolve(socket.gethostname() if host in {"0.0.0.0", "::"} else host)


def _read(path: Path) -> str:
    try:
        status = path.stat()
        text = path.read_text()
    except OSError as error:
        raise RolloutError(
            f"{path}, which a server of yours left, cannot be read ({error.strerror}): start it again."
        ) from None
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise RolloutError(
            f"{path} is of a server's token, and others can read or change it. Remove it and start the server again."
        )
    return text
