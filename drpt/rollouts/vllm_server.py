"""vLLM in another process or on another machine, asked over HTTP and synced through a folder.

Token ids go out and come back (``/inference/v1/generate``), with the weights' version that drew each of them, so that a
server which another run has synced, or which was started anew, is noticed instead of believed.
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
_VERSION = "0.32."  # of vLLM; the endpoints for syncing are not promised to stay
_ANSWER_SECONDS = 60.0  # for what a living server answers at once
_SYNC_SECONDS = 1800.0  # for reading a large model over a network
_WATCH_SECONDS = 5.0  # between two looks whether the server lives
_MOST_REQUESTS = 256  # under way at once; vLLM batches them
_UNSYNCED = "default"  # vLLM's name for the weights it was started with
_LEAST_LOGPROB = -9999.0  # what vLLM sends for minus infinity and NaN


class VllmServerRollout:
    """A client of one server, started by ``python -m drpt.rollouts.serve``; one run alone can sync it.

    Responses are drawn as the engine in this process draws them: response ``j`` to prompt ``i`` of a call has the seed
    ``sampling.seed + i * num_responses + j``, and only ``stop_token_ids`` end it.
    """

    def __init__(
        self, *, url: str, token_variable: str | None, weights_folder: str | None, max_model_len: int, dtype: str
    ) -> None:
        """Look whether the server is there and fits.

        Args:
            url: ``http://HOST:PORT`` on this machine or in a private network.
            token_variable: Environment variable with the server's token; null = it is looked for, see `ServerConnection`.
            weights_folder: Where weights are left for the server, the same path on both machines; null = a temporary
                folder, for a server on this machine.
            max_model_len: Tokens of the longest prompt and response together.
            dtype: ``float32`` or ``bfloat16``; the server must compute in it.

        Raises:
            RolloutError: The address is refused, no server is there, or another than is needed.
        """
        self._max_model_len, self._dtype = max_model_len, dtype
        self._server = ServerConnection(url, token_variable, _remedy(url, token_variable, max_model_len, dtype))
        if weights_folder is None and not self._server.is_local:
            raise RolloutError(f"rollout.weights_folder must name a folder that this machine and the server at {url} share.")
        self._shapes = self._check_server()
        # What the last run left on the server is not the policy: then only a sync makes it fit to be asked.
        is_unsynced = self._get("/weight_info")["weight_version"] == _UNSYNCED
        self._version: str | None = _UNSYNCED if is_unsynced else None
        self._folder = None if weights_folder is None else Path(weights_folder).absolute()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"VllmServerRollout(url={self._server.url!r}, dtype={self._dtype!r}, max_model_len={self._max_model_len})"

    @property
    def dtype(self) -> str:
        """``float32`` or ``bfloat16``: what the server computes in."""
        return self._dtype

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Have the server take over the policy's weights, and forget what was cached under the old ones.

        Requests under way are ended by the server. After an error the server stays paused until a sync succeeds, unless
        nothing has reached it.

        Args:
            weights: Every parameter by its name in the Hugging Face model, adapters merged; a tied one once.

        Raises:
            RolloutError: The server has died or cannot read the folder, or the weights do not fit it.
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
                raise self._server.error("POST /reset_prefix_cache", "could not forget the old weights' cache")
            self._post("/update_weight_version", {"new_version": version})
            self._post("/resume")
            self._version = version

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses; all prompts are sent at once.

        Args:
            prompts: Token ids, each at least one.
            sampling: How; a temperature of 0 takes the most likely tokens, with their log-probs at temperature 1.

        Returns:
            ``sampling.num_responses`` a prompt, in the prompts' order.

        Raises:
            RolloutError: The server has died, was paused or synced by another run, or refuses; or a prompt does not fit.
        """
        self._check_open()
        if self._version is None:
            raise RolloutError(f"{self._server.url} does not hold the policy's weights: sync before asking for responses.")
        for place, prompt in enumerate(prompts):
            self._check_prompt(place, len(prompt), sampling.max_tokens)
        bodies = [_request(prompt, sampling, place) for place, prompt in enumerate(prompts)]
        answers = self._ask_all(bodies) if bodies else []
        copies = sampling.num_responses if sampling.temperature == 0 else 1
        return [self._responses(answer, sampling) * copies for answer in answers]

    def close(self) -> None:
        """Ask no more; the server goes on running. May be called again."""
        self._is_closed = True

    @contextmanager
    def _passing_folder(self, version: str) -> Iterator[Path]:
        """A folder's name that is free, and free again afterwards: the server keeps its own copy of what it has read."""
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
            mode = f"has --logprobs-mode {held['logprobs_mode']}: its log-probs are not those of the drawn distribution"
            raise self._server.error(asked, mode)
        return held["shapes"]

    def _check_open(self) -> None:
        if self._is_closed:
            raise RolloutError(f"This client of {self._server.url} was closed; build another one.")

    def _check_prompt(self, place: int, length: int, max_tokens: int) -> None:
        longest = self._max_model_len - max_tokens
        if not 1 <= length <= longest:
            raise RolloutError(
                f"Prompt {place} has {length} tokens; it needs at least 1 and at most {longest}, so that {max_tokens} more fit "
                f"into a context of {self._max_model_len}. Lower rollout.max_tokens or shorten the prompt."
            )

    def _ask_all(self, bodies: list[dict[str, Any]]) -> list[Any]:
        """Every answer, or the first error at once: then the other requests are ended, here and at the server."""
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
            raise self._server.error("GET /is_paused", "is paused: another run is syncing it, or one was ended in the middle")

    def _responses(self, answer: Any, sampling: Sampling) -> list[Response]:
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            if len(choices) != (wanted := _num_asked(sampling)):
                raise self._server.error(_ASKED, f"answered {len(choices)} responses instead of {wanted}")
            return [self._response(choice, sampling) for choice in choices]
        except (KeyError, TypeError) as error:
            raise self._server.error(_ASKED, f"answered in another form ({error!r} in {answer})") from None

    def _response(self, choice: dict[str, Any], sampling: Sampling) -> Response:
        versions = {span["version"] for span in choice["weight_versions"]}
        if versions != {self._version}:
            raise self._server.error(
                _ASKED, f"drew from other weights ({versions}): it was started anew or synced by another run"
            )
        token_ids = tuple(choice["token_ids"])
        entries = choice["logprobs"]["content"]
        if tuple(entry["token_id"] for entry in entries) != token_ids:
            raise self._server.error(_ASKED, f"answered log-probs of other tokens than the drawn ones: {choice}")
        logprobs = tuple(float(entry["logprob"]) for entry in entries)
        if min(logprobs, default=_LEAST_LOGPROB) <= _LEAST_LOGPROB:
            raise self._server.error(_ASKED, f"answered no finite log-prob for each token: {logprobs}")
        reason = choice["finish_reason"]
        if reason != "stop" and (reason != "length" or len(token_ids) != sampling.max_tokens):
            raise self._server.error(_ASKED, f"broke a response off after {len(token_ids)} tokens ({reason})")
        return Response(token_ids=token_ids, logprobs=logprobs, is_finished=reason == "stop")

    def _get(self, path: str) -> Any:
        return self._server.ask("GET", path, seconds=_ANSWER_SECONDS)

    def _post(self, path: str, body: Any = None) -> Any:
        return self._server.ask("POST", path, body, seconds=_SYNC_SECONDS)


def _request(prompt: Sequence[int], sampling: Sampling, place: int) -> dict[str, Any]:
    drawing = {
        "n": _num_asked(sampling),
        "seed": sampling.seed + place * sampling.num_responses,  # vLLM counts on from it for the n responses
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_token_ids": list(sampling.stop_token_ids),
        "ignore_eos": True,  # what ends a response is said by stop_token_ids alone
        "logprobs": 0,  # of the drawn token
        "detokenize": False,
    }
    return {"token_ids": list(prompt), "sampling_params": drawing}


def _num_asked(sampling: Sampling) -> int:
    """Responses a prompt: the most likely one is asked for once, since vLLM refuses to give it twice."""
    return sampling.num_responses if sampling.temperature > 0 else 1


def _remedy(url: str, token_variable: str | None, max_model_len: int, dtype: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 8000
    except ValueError:
        host, port = "127.0.0.1", 8000
    command = start_command(port=port, dtype=dtype, max_model_len=max_model_len, host=host, token_variable=token_variable)
    return f"A fitting server is started, with the policy's folder, by\n  {command}"
