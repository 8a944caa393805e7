"""The schema of the `rollout` config group: its keys and their rules; free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drpt.checks import check_choice, check_interval

ENGINES = {
    "vllm": "vLLM in this process, on the CPU or a GPU",
    "vllm_server": "a vLLM server at `rollout.url`, in another process or on another machine",
    "transformers": "transformers' generate with a copy of the policy: slow, needs no other package",
}
DTYPES = {
    "float32": "log-probabilities equal the trainer's up to rounding",
    "bfloat16": "faster; log-probabilities differ by up to a few tenths",
}
# Tokens in a block of the CPU's key–value cache: the smallest number that vLLM's attention supports. Responses to one prompt
# share whole blocks only; with vLLM's default of 128, which exceeds many prompts, each response would prefill its prompt anew.
CPU_BLOCK_TOKENS = 32


@dataclass(kw_only=True)
class RolloutSpec:
    """How responses are generated."""

    engine: str  # engine that draws responses, or the dotted path of a class of yours; a key of ENGINES
    dtype: str  # floating-point type of the engine; a key of DTYPES
    num_prompts: int  # general prompts in a rollout phase; the engine loads the policy's weights before each phase
    num_responses: int  # responses to each prompt: the group whose rewards are compared
    max_tokens: int  # tokens of the longest response
    temperature: float  # divisor of the logits, in [0.01, 2]; the trainer computes log-probabilities under it, too
    top_p: float  # probability mass of the most likely tokens that are sampled from, in (0, 1]; 1 = all
    top_k: int  # number of the most likely tokens that are sampled from; 0 = all
    parity_every_phases: int  # phases between two comparisons of the engine's log-probabilities with the trainer's
    parity_responses: int  # responses in each of these comparisons
    parity_bound: float | None  # largest mean difference in nats a token before the run stops; null = the dtype's default
    kv_cache_mib: int  # size of vLLM's cache of keys and values, in MiB
    threads: int  # threads of a vLLM engine on the CPU
    url: str | None  # address of the server, http://HOST:PORT; needed by engine=vllm_server and by no other
    token_variable: str | None  # environment variable with the server's token; null = DRPT_SERVER_TOKEN or its token file
    weights_folder: str | None  # folder that run and server share, for weights on their way to the server
    arguments: dict[str, Any] = field(default_factory=dict)  # keyword arguments of an engine of yours

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        if self.is_own_engine:
            self._check_arguments()
        else:
            check_choice("rollout.engine", self.engine, ENGINES, ", or the dotted path of an engine of yours")
            if self.arguments:
                raise ValueError(
                    f"rollout.arguments={self.arguments} belong to an engine of yours (rollout.engine=my_engines.Mine); "
                    f"rollout.engine={self.engine} takes none."
                )
        check_choice("rollout.dtype", self.dtype, DTYPES)
        counts = {
            "num_prompts": "general prompts of one rollout phase",
            "num_responses": "responses to each prompt",
            "max_tokens": "tokens of the longest response",
            "parity_every_phases": "phases between two probes",
            "parity_responses": "responses that are compared",
            "kv_cache_mib": "MiB of vLLM's cache",
            "threads": "threads of a vLLM engine on the CPU",
        }
        for key, meaning in counts.items():
            check_interval(f"rollout.{key}", getattr(self, key), low=1, meaning=meaning)
        meaning = "what logits are divided by when responses are drawn"
        # vLLM refuses higher temperatures, and raises lower ones to 0.01.
        check_interval("rollout.temperature", self.temperature, low=0.01, high=2, meaning=meaning)
        meaning = "the probability mass of the most likely tokens that are sampled from; 1 = all"
        check_interval("rollout.top_p", self.top_p, low=0, high=1, is_low_included=False, meaning=meaning)
        check_interval(
            "rollout.top_k", self.top_k, low=0, meaning="the number of the most likely tokens that are sampled from; 0 = all"
        )
        if self.parity_bound is not None:
            meaning = "nats of mean difference before the run stops"
            check_interval("rollout.parity_bound", self.parity_bound, low=0, is_low_included=False, meaning=meaning)
        if (self.engine == "vllm_server") != (self.url is not None):
            raise ValueError(
                f"rollout.url={self.url!r}: rollout=vllm_server needs the address of a server, such as "
                "http://127.0.0.1:8000; with other engines, leave it null."
            )
        for key in ("token_variable", "weights_folder"):
            if getattr(self, key) is not None and self.engine != "vllm_server":
                raise ValueError(f"rollout.{key}={getattr(self, key)!r} is for rollout=vllm_server only; leave it null.")

    def _check_arguments(self) -> None:
        arguments: object = self.arguments
        if not isinstance(arguments, Mapping):
            raise ValueError(f"rollout.arguments={arguments!r} must be a mapping, such as {{beams: 4}}.")

    @property
    def is_own_engine(self) -> bool:
        """Whether the engine is a class from outside the package."""
        return self.engine not in ENGINES and "." in self.engine

    @property
    def truncates(self) -> bool:
        """Whether some tokens are never drawn, so that the engine's log-probabilities are not the policy's."""
        return self.top_p < 1.0 or self.top_k > 0
