r"""``python -m drpt.rollouts.serve``: starts a vLLM server that `rollout=vllm_server` can sync and ask.

On the machine of the server, with the policy's model folder (weights, configuration, tokenizer)::

    export DRPT_TOKEN=...   # any secret; not needed where only this machine can reach the server
    python -m drpt.rollouts.serve --model FOLDER --host 10.0.0.2 --port 8000 --dtype bfloat16 --max-model-len 2048 \
        --token-variable DRPT_TOKEN -- --tensor-parallel-size 2

and for the run: ``rollout=vllm_server rollout.url=http://10.0.0.2:8000 rollout.token_variable=DRPT_TOKEN
rollout.weights_folder=/a/folder/both/can/reach``. A thin wrapper: it checks where the server listens and who may ask it,
sets what vLLM reads from the environment, and becomes vLLM's own server process. End it by SIGTERM or Ctrl-C: vLLM's
engine processes outlive a server that was killed by SIGKILL.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from drpt.rollouts.network import is_loopback, resolve
from drpt.rollouts.server_guard import TOKEN_VARIABLE
from drpt.rollouts.spec import CPU_BLOCK_TOKENS, DTYPES

_ABOUT = (__doc__ or "").replace("``", "").replace("::", ":")  # as the command line's help
_EXTENSION = "drpt.rollouts.server_extension.WeightRepacking"
_CPU_KV_CACHE_MIB = 512
_GUARD = "drpt.rollouts.server_guard.RequestGuard"
_TOKENS_NEEDED = (
    "--host={host} lets other machines reach the server, and whoever reaches it can replace its weights: put a secret "
    "into an environment variable and name it by --token-variable, or listen on 127.0.0.1."
)


def start_command(*, port: int, dtype: str, max_model_len: int, host: str, token_variable: str | None) -> str:
    """The command line that starts a fitting server; the user fills in the model's folder."""
    words = ["python -m drpt.rollouts.serve --model FOLDER", f"--host {host} --port {port}"]
    words.append(f"--dtype {dtype} --max-model-len {max_model_len}")
    if token_variable is not None:
        words.append(f"--token-variable {token_variable}")
    return " ".join(words)


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the options and become vLLM's server; returns only by an exception.

    Args:
        arguments: Those of the command line when left out.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    environment = dict(os.environ)
    try:
        command = vllm_command(options, environment)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def vllm_command(options: argparse.Namespace, environment: dict[str, str]) -> list[str]:
    """The command line of vLLM's server for our options.

    Args:
        options: As parsed.
        environment: What the server will see; settings are added.

    Returns:
        Program and arguments; the token is not among them.

    Raises:
        ValueError: The model is no folder, or the address and the token do not go together.
    """
    if not Path(options.model).is_dir():
        raise ValueError(f"--model={options.model} is no folder; name one with a saved model and its tokenizer.")
    _set_token(options, environment)
    # The endpoints that sync weights exist in this mode alone. Nothing is reported to vLLM's makers.
    environment |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # The `vllm` program of the CPU wheel does not start; the module does.
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", options.model]
    if _is_cpu_wheel():
        words += ["--block-size", str(CPU_BLOCK_TOKENS)]  # before the user's words, which may know better
    words += options.vllm  # before ours, which win: the address was checked
    words += ["--host", options.host, "--port", str(options.port), "--dtype", options.dtype]
    words += ["--max-model-len", str(options.max_model_len), "--generation-config", "vllm"]
    words += ["--logprobs-mode", "processed_logprobs", "--worker-extension-cls", _EXTENSION, "--middleware", _GUARD]
    words += ["--enable-scale-out", "--disable-uvicorn-access-log", "--disable-log-stats"]
    kv_cache_mib = options.kv_cache_mib
    if _is_cpu_wheel():
        words.append("--enforce-eager")
        # Unbound threads share the cores with a trainer beside them.
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(options.threads)}
        kv_cache_mib = _CPU_KV_CACHE_MIB if kv_cache_mib is None else kv_cache_mib
    if kv_cache_mib is not None:
        words += ["--kv-cache-memory-bytes", str(kv_cache_mib * 2**20)]
    return words


def _set_token(options: argparse.Namespace, environment: dict[str, str]) -> None:
    if options.token_variable is not None:
        token = environment.get(options.token_variable)
        if not token:
            raise ValueError(f"--token-variable={options.token_variable}: this environment variable is not set.")
        environment[TOKEN_VARIABLE] = token
        return
    environment.pop(TOKEN_VARIABLE, None)  # a token that clients were not told to send would lock them out
    try:
        addresses = resolve(options.host)
    except OSError as error:
        raise ValueError(f"--host={options.host} is not known: {error}.") from error
    if not all(map(is_loopback, addresses)):
        raise ValueError(_TOKENS_NEEDED.format(host=options.host))


def _is_cpu_wheel() -> bool:
    return any(True for _ in metadata.distributions(name="vllm-cpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m drpt.rollouts.serve", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="folder with the model and its tokenizer")
    add("--host", default="127.0.0.1", help="address to listen on; others than this machine's own need a token")
    add("--port", type=int, default=8000)
    add("--dtype", choices=DTYPES, default="float32", help="the same as rollout.dtype")
    add("--max-model-len", type=int, required=True, help="tokens of the longest prompt and response together")
    add("--token-variable", help="environment variable with the secret that requests must carry")
    add("--kv-cache-mib", type=int, help="memory for keys and values; default: vLLM's choice on a GPU, else 512")
    add("--threads", type=int, default=1, help="on the CPU")
    add("vllm", nargs="*", help="after `--`: further options of vLLM's server, such as --tensor-parallel-size 2")
    return parser


if __name__ == "__main__":
    main()
