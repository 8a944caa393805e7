"""The engine for a vLLM server in another process or on another machine, used over HTTP and synced through a shared folder.

Requests and answers are token ids (``/inference/v1/generate``). Answers state the version of the weights that drew each token,
so that a server that was restarted, or synced by another run, is detected.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Response, Sampling
from drpt.rollouts.serve import start_command
from drpt.rollouts.server_connection import ServerConnection
from drpt.rollouts.server_weights import write_weights

_GENERATE = "/inference/v1/generate"
_ASKED = f"POST {_GENERATE}"
_VERSION = "0.32."  # required version of vLLM; its endpoints for syncing are not a stable interface
_ANSWER_SECONDS = 60.0  # time limit for requests that a running server answers at once
_SYNC_SECONDS = 1800.0  # time limit for loading a large model over a network
_WATCH_SECONDS = 5.0  # time between two checks that the server is running
_MOST_REQUESTS = 256  # concurrent requests; vLLM batches them
_UNSYNCED = "default"  # vLLM's name for the weights that it was started with
_LEAST_LOGPROB = -9999.0  # what vLLM sends for minus infinity and NaN


class VllmServerRollout:
    """A client of a server that ``python -m drpt.rollouts.serve`` started. Only one run at a time can use a server.

    Seeds are those of `VllmRollout`: response ``j`` to prompt ``i`` of a call has the seed
    ``sampling.seed + i * num_responses + j``. Only ``stop_token_ids`` end a response.
    """

    def __init__(
        self, *, url: str, token_variable: str | None, weights_folder: str | None, max_model_len: int, dtype: str
    ) -> None:
        """Check that the server is running and suitable.

        Args:
            url: Address ``http://HOST:PORT`` on this machine or in a private network.
            token_variable: Environment variable with the server's token; None = the default places of `ServerConnection`.
            weights_folder: Folder for the weights, with the same path on both machines; None = a temporary folder, for a
                server on this machine.
            max_model_len: Largest number of tokens of prompt and response together.
            dtype: Floating-point type that the server must have: ``float32`` or ``bfloat16``.

        Raises:
            RolloutError: The address is not permitted, no server answers, or the server has other settings.
        """
        self._max_model_len, self._dtype = max_model_len, dtype
        self._server = ServerConnection(url, token_variable, _remedy(url, token_variable, max_model_len, dtype))
        if weights_folder is None and not self._server.is_local:
            raise RolloutError(f"rollout.weights_folder must be a folder that this machine and the server at {url} share.")
        self._shapes = self._check_server()
        # A server with the weights of an earlier run must be synced before it can be used.
        is_unsynced = self._get("/weight_info")["weight_version"] == _UNSYNCED
        self._version: str | None = _UNSYNCED if is_unsynced else None
        self._folder = None if weights_folder is None else Path(weights_folder).absolute()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"VllmServerRollout(url={self._server.url!r}, dtype={self._dtype!r}, max_model_len={self._max_model_len})"

    @property
    def dtype(self) -> str:
        """The server's floating-point type: ``float32`` or ``bfloat16``."""
        return self._dtype

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Make the server load the policy's weights and drop what it cached under the old ones.

        The server aborts requests in progress. After an error it stays paused until a sync succeeds, unless the error occurred
        before the first request.

        Args:
            weights: Name in the Hugging Face model and value of every parameter, adapters merged, tied parameters once.

        Raises:
            RolloutError: The server has died or cannot read the folder, or the weights belong to another model.
        """
        self._check_open()
        version = f"drpt-{uuid.uuid4().hex}"
        with self._passing_folder(version) as folder:
            write_weights(weights, folder, shapes=self._shapes, dtype=getattr(torch, self._dtype))
            self._version = None
            self._post("/pause?mode=abort")
            self._post("/update_weight_version", {"new_version": f"{version}-incomplete"})
            self._post("/collective_rpc", {"method": "drpt_load", "args": [str(folder)]})
            if not self._post("/reset_prefix_cache")["success"]:
                raise self._server.error("POST /reset_prefix_cache", "could not empty the cache of the old weights")
            self._post("/update_weight_version", {"new_version": version})
            self._post("/resume")
            self._version = version

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses, sending all prompts concurrently.

        Args:
            prompts: Token ids of each prompt; at least one.
            sampling: Sampling settings; a temperature of 0 takes the most likely tokens, with their log-probabilities at
                temperature 1.

        Returns:
            ``sampling.num_responses`` responses for each prompt, in the prompts' order.

        Raises:
            RolloutError: The server has died, was paused or synced by another run, or refused; or a prompt is too long.
        """
        self._check_open()
        if self._version is None:
            raise RolloutError(f"{self._server.url} does not have the policy's weights: sync before generating responses.")
        for place, prompt in enumerate(prompts):
            self._check_prompt(place, len(prompt), sampling.max_tokens)
        bodies = [_request(prompt, sampling, place) for place, prompt in enumerate(prompts)]
        answers = self._ask_all(bodies) if bodies else []
        copies = sampling.num_responses if sampling.temperature == 0 else 1
        return [self._responses(answer, sampling) * copies for answer in answers]

    def close(self) -> None:
        """Close the client; the server keeps running. Further calls have no effect."""
        self._is_closed = True

    @contextmanager
    def _passing_folder(self, version: str) -> Iterator[Path]:
        """Yield the path of a new folder, and remove the folder afterwards: the server keeps a copy in memory."""
        if self._folder is None:
            with tempfile.TemporaryDirectory(prefix="drpt-weights-") as parent:
                yield Path(parent) / version
            return
        folder = self._folder / version
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_server(self) -> dict[str, list[int]]:
        self._get("/health")
        version = self._get("/version")["version"]
        if not version.startswith(_VERSION):
            raise self._server.error("GET /version", f"answered {version}, but vLLM {_VERSION}x is needed")
        asked = "POST /collective_rpc drpt_describe"
        held = self._post("/collective_rpc", {"method": "drpt_describe"})["results"][0]
        if held["dtype"] != self._dtype:
            raise self._server.error(asked, f"computes in {held['dtype']}, but rollout.dtype={self._dtype}")
        if held["max_model_len"] < self._max_model_len:
            shortage = f"takes {held['max_model_len']} tokens, but prompt and response need {self._max_model_len}"
            raise self._server.error(asked, shortage)
        if held["logprobs_mode"] != "processed_logprobs":
            mode = f"has --logprobs-mode {held['logprobs_mode']}: its log-probs are not those of the sampling distribution"
            raise self._server.error(asked, mode)
        return held["shapes"]

    def _check_open(self) -> None:
        if self._is_closed:
            raise RolloutError(f"This client of {self._server.url} is closed; build a new one.")

    def _check_prompt(self, place: int, length: int, max_tokens: int) -> None:
        longest = self._max_model_len - max_tokens
        if not 1 <= length <= longest:
            raise RolloutError(
                f"Prompt {place} has {length} tokens; it needs at least 1 and at most {longest}, so that {max_tokens} more fit "
                f"into a context of {self._max_model_len}. Lower rollout.max_tokens or shorten the prompt."
            )

    def _ask_all(self, bodies: list[dict[str, Any]]) -> list[Any]:
        """All answers; the first error is raised at once, and the other requests are aborted here and on the server."""
        try:
            with ThreadPoolExecutor(min(len(bodies), _MOST_REQUESTS), thread_name_prefix="rollout") as pool:
                futures = [pool.submit(self._server.ask, "POST", _GENERATE, body, seconds=None) for body in bodies]
                try:
                    while not self._are_done(futures):
                        self._check_running()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._server.stop()
                    raise
        finally:
            self._server.restart()
        return [future.result() for future in futures]

    @staticmethod
    def _are_done(futures: list[Future[Any]]) -> bool:
        done, waiting = wait(futures, timeout=_WATCH_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return not waiting

    def _check_running(self) -> None:
        self._get("/health")
        if self._get("/is_paused")["is_paused"]:
            raise self._server.error("GET /is_paused", "is paused: another run is syncing it, or was ended while doing so")

    def _responses(self, answer: Any, sampling: Sampling) -> list[Response]:
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            if len(choices) != (wanted := _num_asked(sampling)):
                raise self._server.error(_ASKED, f"answered {len(choices)} responses instead of {wanted}")
            return [self._response(choice, sampling) for choice in choices]
        except (KeyError, TypeError) as error:
            raise self._server.error(_ASKED, f"gave an answer of an unknown form ({error!r} in {answer})") from None

    def _response(self, choice: dict[str, Any], sampling: Sampling) -> Response:
        versions = {span["version"] for span in choice["weight_versions"]}
        if versions != {self._version}:
            raise self._server.error(_ASKED, f"drew from other weights ({versions}): it was restarted or synced by another run")
        token_ids = tuple(choice["token_ids"])
        entries = choice["logprobs"]["content"]
        if tuple(entry["token_id"] for entry in entries) != token_ids:
            raise self._server.error(_ASKED, f"gave log-probs of other tokens than the drawn ones: {choice}")
        logprobs = tuple(float(entry["logprob"]) for entry in entries)
        if min(logprobs, default=_LEAST_LOGPROB) <= _LEAST_LOGPROB:
            raise self._server.error(_ASKED, f"gave log-probs that are not all finite: {logprobs}")
        reason = choice["finish_reason"]
        if reason != "stop" and (reason != "length" or len(token_ids) != sampling.max_tokens):
            raise self._server.error(_ASKED, f"cut a response off after {len(token_ids)} tokens ({reason})")
        return Response(token_ids=token_ids, logprobs=logprobs, is_finished=reason == "stop")

    def _get(self, path: str) -> Any:
        return self._server.ask("GET", path, seconds=_ANSWER_SECONDS)

    def _post(self, path: str, body: Any = None) -> Any:
        return self._server.ask("POST", path, body, seconds=_SYNC_SECONDS)


def _request(prompt: Sequence[int], sampling: Sampling, place: int) -> dict[str, Any]:
    drawing = {
        "n": _num_asked(sampling),
        "seed": sampling.seed + place * sampling.num_responses,  # vLLM adds 1 for each further response
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_token_ids": list(sampling.stop_token_ids),
        "ignore_eos": True,  # only stop_token_ids end a response
        "logprobs": 0,  # log-probabilities of the drawn tokens only
        "detokenize": False,
    }
    return {"token_ids": list(prompt), "sampling_params": drawing}


def _num_asked(sampling: Sampling) -> int:
    """Number of responses to request for each prompt: 1 at temperature 0, where vLLM refuses to repeat a response."""
    return sampling.num_responses if sampling.temperature > 0 else 1


def _remedy(url: str, token_variable: str | None, max_model_len: int, dtype: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 8000
    except ValueError:
        host, port = "127.0.0.1", 8000
    command = start_command(port=port, dtype=dtype, max_model_len=max_model_len, host=host, token_variable=token_variable)
    return f"To start a suitable server with the policy's folder:\n  {command}"
