r"""``python -m drpt.rollouts.serve``: starts a vLLM server for `rollout=vllm_server`.

Start it on the server's machine with the policy's model folder (weights, configuration, tokenizer)::

    python -m drpt.rollouts.serve --model FOLDER --host 10.0.0.2 --port 8000 --dtype bfloat16 --max-model-len 2048 \
        -- --tensor-parallel-size 2

and the run with ``rollout=vllm_server rollout.url=http://10.0.0.2:8000 rollout.weights_folder=/a/folder/both/can/reach``.

Every request must carry a token; otherwise other users of the machine could replace the server's weights. The server creates
one in a file that only its user can read, under ``~/.local/state/drpt/servers``. Runs of the same user with the same home
folder find it there. For other runs, the server prints how to set the environment variable ``DRPT_SERVER_TOKEN``. If this
variable is set when the server starts, or ``--token-variable`` names another one, the token is taken from there.

This launcher sets the token and vLLM's environment variables, and then becomes vLLM's own server process. Stop it with
SIGTERM or Ctrl-C: after SIGKILL, vLLM's engine processes keep running.
"""

import argparse
import errno
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.network import resolve
from drpt.rollouts.server_guard import TOKEN_VARIABLE
from drpt.rollouts.server_token import CLIENT_VARIABLE, check_token, forget_token, leave_token
from drpt.rollouts.spec import CPU_BLOCK_TOKENS, DTYPES

_ABOUT = (__doc__ or "").replace("``", "").replace("::", ":")  # text of --help
_EXTENSION = "drpt.rollouts.server_extension.WeightRepacking"
_CPU_KV_CACHE_MIB = 512
_GUARD = "drpt.rollouts.server_guard.RequestGuard"


def start_command(*, port: int, dtype: str, max_model_len: int, host: str, token_variable: str | None) -> str:
    """The command line that starts a suitable server; the user fills in the model's folder."""
    words = ["python -m drpt.rollouts.serve --model FOLDER", f"--host {host} --port {port}"]
    words.append(f"--dtype {dtype} --max-model-len {max_model_len}")
    if token_variable is not None:
        words.append(f"--token-variable {token_variable}")
    return " ".join(words)


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the options and become vLLM's server process; never returns normally.

    Args:
        arguments: Command-line arguments; default: those of the process.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    environment = dict(os.environ)
    try:
        command = vllm_command(options, environment)
        require_free_port(options.host, options.port)  # otherwise the token of a running server would be overwritten
        about_token = set_token(options, environment)
    except (ValueError, RolloutError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{about_token}\n")
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def vllm_command(options: argparse.Namespace, environment: dict[str, str]) -> list[str]:
    """The command line of vLLM's server.

    Args:
        options: Parsed options of this launcher.
        environment: Environment variables of the server, changed in place.

    Returns:
        Program and arguments, without the token.

    Raises:
        ValueError: The model is not a folder, or the host cannot be resolved.
    """
    if not Path(options.model).is_dir():
        raise ValueError(f"--model={options.model} is not a folder; give one with a saved model and its tokenizer.")
    try:
        resolve(options.host)
    except OSError as error:
        raise ValueError(f"--host={options.host} cannot be resolved: {error}.") from error
    # The endpoints that sync weights exist in development mode only. Usage statistics are switched off.
    environment |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # The `vllm` program of the CPU wheel does not start, but the module does.
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", options.model]
    if _is_cpu_wheel():
        words += ["--block-size", str(CPU_BLOCK_TOKENS)]  # before the user's options, which may override it
    words += options.vllm  # before ours, which override them: the address was checked
    words += ["--host", options.host, "--port", str(options.port), "--dtype", options.dtype]
    words += ["--max-model-len", str(options.max_model_len), "--generation-config", "vllm"]
    words += ["--logprobs-mode", "processed_logprobs", "--worker-extension-cls", _EXTENSION, "--middleware", _GUARD]
    words += ["--enable-scale-out", "--disable-uvicorn-access-log", "--disable-log-stats"]
    kv_cache_mib = options.kv_cache_mib
    if _is_cpu_wheel():
        words.append("--enforce-eager")
        # Threads that are not bound to cores share them with a trainer on the same machine.
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(options.threads)}
        kv_cache_mib = _CPU_KV_CACHE_MIB if kv_cache_mib is None else kv_cache_mib
    if kv_cache_mib is not None:
        words += ["--kv-cache-memory-bytes", str(kv_cache_mib * 2**20)]
    return words


def require_free_port(host: str, port: int) -> None:
    """Refuse an address that another process listens on.

    Args:
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ValueError: The port is in use or not permitted.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise ValueError(f"--port={port} of --host={host} cannot be used ({reason}): give another --port.") from error


def set_token(options: argparse.Namespace, environment: dict[str, str]) -> str:
    """Set the token that requests must carry.

    Args:
        options: Parsed options of this launcher.
        environment: Environment variables of the server, which other users cannot read; the token is added in place.

    Returns:
        A message about where clients find the token, without the token itself.

    Raises:
        ValueError: The named variable is not set, or the token file cannot be written.
        RolloutError: The token is not allowed in a request header.
    """
    name = options.token_variable or (CLIENT_VARIABLE if environment.get(CLIENT_VARIABLE) else None)
    if name is not None:
        if not environment.get(name):
            raise ValueError(f"--token-variable={name}: this environment variable is not set.")
        environment[TOKEN_VARIABLE] = check_token(environment[name], name)
        forget_token(options.port)  # remove the token of an earlier server
        said = "" if name == CLIENT_VARIABLE else f", with rollout.token_variable={name}"
        return f"Requests must carry the token in {name}: set this variable for runs, too{said}."
    try:
        left = leave_token(options.host, options.port)
    except OSError as error:
        raise ValueError(
            f"The server's token file cannot be written ({error}). Set the environment variable {CLIENT_VARIABLE} to a secret, "
            "here and for the runs."
        ) from error
    environment[TOKEN_VARIABLE] = left.token
    return (
        f"Requests must carry a token. Runs of this user find it automatically in {left.path}\n"
        "For a run on another machine that does not share this folder, type there:\n"
        f'  export {CLIENT_VARIABLE}="$(ssh {socket.gethostname()} cat {shlex.quote(str(left.path))})"'
    )


def _is_cpu_wheel() -> bool:
    return any(True for _ in metadata.distributions(name="vllm-cpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m drpt.rollouts.serve", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="folder with the model and its tokenizer")
    add("--host", default="127.0.0.1", help="address to listen on; the default is reachable from this machine only")
    add("--port", type=int, default=8000, help="port to listen on; default: 8000")
    add("--dtype", choices=DTYPES, default="float32", help="floating-point type, the same as rollout.dtype")
    add("--max-model-len", type=int, required=True, help="tokens of the longest prompt and response together")
    add("--token-variable", help="environment variable with the token that requests must carry; default: a new token")
    add("--kv-cache-mib", type=int, help="MiB for the cache of keys and values; default: vLLM's choice on a GPU, else 512")
    add("--threads", type=int, default=1, help="threads on the CPU; default: 1")
    add("vllm", nargs="*", help="after `--`: further options of vLLM's server, such as --tensor-parallel-size 2")
    return parser


if __name__ == "__main__":
    main()
