"""The `rollout` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drpt.checks import check_choice, check_interval

ENGINES = {
    "vllm": "vLLM in this process, on the CPU or a GPU",
    "vllm_server": "a vLLM server that `rollout.url` names, in another process or machine",
    "transformers": "transformers' generate with a copy of the policy: slow, needs nothing more",
}
DTYPES = {"float32": "log-probs equal the trainer's to rounding", "bfloat16": "faster, log-probs are off by up to tenths"}
# Tokens of a block of the cache of keys and values on the CPU: the smallest that ordinary attention takes. Responses to one
# prompt share whole blocks alone, and vLLM's own 128 is longer than many a prompt: each response would then prefill it anew.
CPU_BLOCK_TOKENS = 32


@dataclass(kw_only=True)
class RolloutSpec:
    """How responses are generated."""

    engine: str  # a key of ENGINES, or the dotted path of a class of yours
    dtype: str  # a key of DTYPES: what the engine computes in
    num_prompts: int  # general prompts of one rollout phase; the engine takes over the policy's weights before each
    num_responses: int  # responses to each prompt: the group whose rewards are compared
    max_tokens: int  # longest response
    temperature: float  # training sees log-probs under it, too
    top_p: float  # share of the probability that is drawn from; 1 = all
    top_k: int  # tokens that are drawn from; 0 = all
    parity_every_phases: int  # phases between two comparisons of the engine's log-probs with the trainer's
    parity_responses: int  # responses that are compared
    parity_bound: float | None  # largest mean difference in nats before the run stops; null = the dtype's own
    kv_cache_mib: int  # memory of vLLM's cache of keys and values
    threads: int  # of a vLLM engine on the CPU
    url: str | None  # of the server, for engine=vllm_server
    token_variable: str | None  # name of the environment variable that holds the server's token
    weights_folder: str | None  # where weights are left for the server: a folder that both can reach
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
        # vLLM refuses more, and takes 0.01 for less.
        check_interval("rollout.temperature", self.temperature, low=0.01, high=2, meaning=meaning)
        meaning = "the share of the probability that is drawn from; 1 = all"
        check_interval("rollout.top_p", self.top_p, low=0, high=1, is_low_included=False, meaning=meaning)
        check_interval("rollout.top_k", self.top_k, low=0, meaning="the tokens that are drawn from; 0 = all")
        if self.parity_bound is not None:
            meaning = "nats of mean difference before the run stops"
            check_interval("rollout.parity_bound", self.parity_bound, low=0, is_low_included=False, meaning=meaning)
        if (self.engine == "vllm_server") != (self.url is not None):
            raise ValueError(
                f"rollout.url={self.url!r}: rollout=vllm_server needs the address of a server, such as "
                "http://127.0.0.1:8000; the other engines take none."
            )
        for key in ("token_variable", "weights_folder"):
            if getattr(self, key) is not None and self.engine != "vllm_server":
                raise ValueError(f"rollout.{key}={getattr(self, key)!r} goes with rollout=vllm_server alone; leave it null.")

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
        """Whether some tokens are never drawn, so that the engine's log-probs are not the policy's."""
        return self.top_p < 1.0 or self.top_k > 0
