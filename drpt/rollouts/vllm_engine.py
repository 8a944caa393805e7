"""The default engine: vLLM in the trainer's process, on a CPU or a GPU.

vLLM 0.32 needs some workarounds, which are tested. After a sync, linear layers are packed again on the CPU (a tied output
layer would silently keep its old weights), and the prefix cache is emptied (it would keep results of the old weights). On the
CPU, chunked prefill is off, because a seeded request cannot be continued there. Cache blocks are short on the CPU, for speed.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from drpt.memory import release_memory
from drpt.models.merged import parameter_shapes
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.isolation import Isolation
from drpt.rollouts.protocol import Response, Sampling
from drpt.rollouts.requests import check_prompts, checked_weights
from drpt.rollouts.spec import CPU_BLOCK_TOKENS

_MIB = 2**20
_MOST_SEQUENCES = 256  # sequences that are generated at the same time
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # keep the engine in this process
    "VLLM_CONFIGURE_LOGGING": "0",  # errors go to the handlers of this process
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # do not bind the trainer's threads to a core
    "TOKENIZERS_PARALLELISM": "false",
}


class VllmRollout:
    """A vLLM engine. A process can have one at a time; with several processes, all build theirs at the same time.

    Response ``j`` to prompt ``i`` of a call is drawn with the seed ``sampling.seed + i * num_responses + j``. A temperature of
    0 takes the most likely tokens, with their log-probabilities at temperature 1.
    """

    _open: ClassVar["weakref.ref[VllmRollout] | None"] = None

    def __init__(
        self, *, model_folder: Path, dtype: str, max_model_len: int, kv_cache_mib: int, threads: int, device: torch.device
    ) -> None:
        """Build the engine.

        Args:
            model_folder: Folder with configuration and weights in safetensors; not needed afterwards.
            dtype: Floating-point type: ``float32`` or ``bfloat16``.
            max_model_len: Largest number of tokens of prompt and response together.
            kv_cache_mib: Size of the cache of keys and values, in MiB.
            threads: Number of threads on the CPU.
            device: Device of the engine.

        Raises:
            RolloutError: vLLM is not installed or cannot run this model here, or another engine is open.
        """
        other = VllmRollout._open() if VllmRollout._open is not None else None
        if other is not None and other._llm is not None:
            raise RolloutError("rollout=vllm: this process already has an engine; close it before building another.")
        self._dtype, self._max_model_len = dtype, max_model_len
        self._is_cpu = device.type == "cpu"
        self._isolation = Isolation(_ENVIRONMENT, threads=threads if self._is_cpu else None)
        self._failure: str | None = None
        self._llm: Any = None  # Any: vllm has no types that we check
        options = self._options(device) | {"dtype": dtype, "kv_cache_memory_bytes": kv_cache_mib * _MIB}
        try:
            with self._isolation.entered():
                self._llm = _build(model_folder, device, options)
                config = self._llm.llm_engine.model_config.hf_config
                self._shapes, self._vocabulary = parameter_shapes(config), int(config.get_text_config().vocab_size)
        finally:
            if self._llm is None:
                release_memory()
        # Also at the end of the process, where vLLM would otherwise shut down outside of the isolation and fail.
        self._finalizer = weakref.finalize(self, _shut_down, self._llm, self._isolation)
        VllmRollout._open = weakref.ref(self)

    def __repr__(self) -> str:
        return f"VllmRollout(dtype={self._dtype!r}, max_model_len={self._max_model_len})"

    @property
    def dtype(self) -> str:
        """The engine's floating-point type: ``float32`` or ``bfloat16``."""
        return self._dtype

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Load the policy's weights, and drop what was cached under the old ones.

        Args:
            weights: Name in the Hugging Face model and value of every parameter, adapters merged, tied parameters once.

        Raises:
            RolloutError: The weights belong to another model, or the engine failed and must be closed.
        """
        with self._working("loading weights") as llm:
            checked = checked_weights(weights, self._shapes, engine="vllm")
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": checked})
            if self._is_cpu:
                llm.apply_model(_repack)
            if not llm.reset_prefix_cache():
                raise RolloutError("rollout=vllm: vLLM could not empty its cache of the old weights' keys and values.")

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses.

        Args:
            prompts: Token ids of each prompt; at least one.
            sampling: Sampling settings; only their stop tokens end a response.

        Returns:
            ``sampling.num_responses`` responses for each prompt, in the prompts' order. In float32 a response depends on its
            prompt, its position and the seed, not on the other prompts of the call.

        Raises:
            RolloutError: A prompt is invalid or too long; or the engine failed and must be closed.
        """
        check_prompts(prompts, sampling, max_model_len=self._max_model_len, vocabulary=self._vocabulary, engine="vllm")
        with self._working("generating") as llm:
            if not prompts:
                return []
            from vllm import TokensPrompt

            asked = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
            answers = llm.generate(asked, _settings(len(prompts), sampling), use_tqdm=False)
            responses = [[_response(output, sampling) for output in answer.outputs] for answer in answers]
        # The most likely response is generated once and repeated.
        return [own * sampling.num_responses for own in responses] if sampling.temperature == 0 else responses

    def close(self) -> None:
        """Free all resources; further calls have no effect."""
        if self._llm is None:
            return
        self._llm = None
        try:
            self._finalizer()
        finally:
            release_memory()

    def _options(self, device: torch.device) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_model_len": self._max_model_len,
            "max_num_seqs": _MOST_SEQUENCES,
            "logprobs_mode": "processed_logprobs",  # of the sampling distribution, temperature included
            "generation_config": "vllm",  # ignore the model's own sampling settings
            "skip_tokenizer_init": True,
            "use_tqdm_on_load": False,
        }
        if self._is_cpu:
            # Without chunked prefill, a whole prompt must fit into one step.
            batched = max(self._max_model_len, 4096)
            options |= {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": batched}
            return options | {"block_size": CPU_BLOCK_TOKENS}
        # vLLM only checks this share against the free memory; the cache's size is set by kv_cache_memory_bytes.
        options["gpu_memory_utilization"] = 0.01
        return options | ({} if device.index is None else {"device_ids": [device.index]})

    @contextmanager
    def _working(self, doing: str) -> Iterator[Any]:
        """Use the engine in isolation from the trainer; after any exception it cannot be used again.

        Yields:
            vLLM's ``LLM``.

        Raises:
            RolloutError: The engine is closed, has failed before, or fails in the body.
        """
        if self._llm is None or self._failure is not None:
            state = "is closed" if self._llm is None else f"has failed before ({self._failure})"
            raise RolloutError(f"rollout=vllm: the engine {state}; close it and build a new one.")
        try:
            with self._isolation.entered(), torch.no_grad():
                yield self._llm
        except BaseException as error:
            self._failure = f"{doing}: {_first_line(error)}"
            if isinstance(error, RolloutError) or not isinstance(error, Exception):
                raise
            raise RolloutError(
                f"rollout=vllm: the engine failed while {self._failure}. Close it and build a new one; rollout=transformers "
                "works without vLLM."
            ) from error


def _build(model_folder: Path, device: torch.device, options: dict[str, Any]) -> Any:
    try:
        from vllm import LLM
        from vllm.platforms import current_platform
    except ImportError as error:
        raise RolloutError(
            f"rollout=vllm: vLLM cannot be imported ({_first_line(error)}). Run `make install`, or use rollout=transformers."
        ) from error
    if current_platform.device_type != device.type:
        raise RolloutError(
            f"rollout=vllm: the installed vLLM computes on {current_platform.device_type or 'no device here'}, the trainer on "
            f"{device.type}. Install the other one (extras `cpu` and `gpu`), or use rollout=transformers."
        )
    if device.type == "cpu":
        # Linux requires a process to request the use of AMX tiles; vLLM's bfloat16 attention uses them without a request.
        torch.cpu._init_amx()
    current_platform.import_kernels()
    try:
        with _unbound_memory():
            return LLM(str(model_folder), **options)
    except Exception as error:
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()  # otherwise the partly built engine blocks the next one
        raise RolloutError(
            "rollout=vllm: vLLM cannot build an engine for this model with "
            f"data.max_length={options['max_model_len']} and rollout.kv_cache_mib="
            f"{options['kv_cache_memory_bytes'] // _MIB}: {_first_line(error)}. rollout=transformers runs every model."
        ) from error


@contextmanager
def _unbound_memory() -> Iterator[None]:
    """Keep vLLM from binding the whole process, including the trainer, to the memory of one NUMA node."""
    operators: Any = torch.ops._C
    bind = getattr(operators, "init_cpu_memory_env", None)
    if bind is None:
        yield
        return
    operators.init_cpu_memory_env = lambda nodes: None
    try:
        yield
    finally:
        operators.init_cpu_memory_env = bind


def _shut_down(llm: Any, isolation: Isolation) -> None:
    with isolation.entered():
        from vllm.model_executor.model_loader.reload.layerwise import LAYERWISE_INFO

        llm.llm_engine.engine_core.shutdown()
        # This record of a sync keeps layers and their packed weights alive. No other engine uses it.
        LAYERWISE_INFO.clear()


def _repack(model: nn.Module) -> None:
    """Pack the loaded weights of linear layers for the CPU's kernels."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        # An empty weight was consumed when it was packed; reloading has packed it again.
        if hasattr(module, "cpu_linear") and weight is not None and weight.numel():
            method: Any = module.quant_method
            method.process_weights_after_loading(module)


def _settings(num_prompts: int, sampling: Sampling) -> list[Any]:
    from vllm import SamplingParams

    return [
        SamplingParams(
            n=sampling.num_responses if sampling.temperature > 0 else 1,
            seed=sampling.seed + place * sampling.num_responses,  # vLLM adds 1 for each further response
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            logprobs=0,  # log-probabilities of the drawn tokens only
            detokenize=False,
            ignore_eos=True,  # only stop_token_ids end a response
            stop_token_ids=list(sampling.stop_token_ids),
        )
        for place in range(num_prompts)
    ]


def _response(output: Any, sampling: Sampling) -> Response:
    token_ids, reason = tuple(output.token_ids), output.finish_reason
    if reason != "stop" and (reason != "length" or len(token_ids) != sampling.max_tokens):
        raise RolloutError(f"rollout=vllm: a response was cut off after {len(token_ids)} tokens ({reason}).")
    logprobs = tuple(float(of_place[token].logprob) for of_place, token in zip(output.logprobs, token_ids, strict=True))
    return Response(token_ids=token_ids, logprobs=logprobs, is_finished=reason == "stop")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
