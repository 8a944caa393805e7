"""vLLM in the trainer's own process: the default engine, on a CPU or a GPU.

What is done here besides calling it is needed with vLLM 0.32, and tested. After a sync linear layers are packed anew on the
CPU (a tied output layer would silently keep the old weights), and the prefix cache is emptied (which would go on with the old
ones). Prompts are not prefilled in pieces on the CPU, since a seeded request cannot be continued there. For speed alone the
cache's blocks are short there.
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
_MOST_SEQUENCES = 256  # under way at once
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # or the engine would be a process of its own
    "VLLM_CONFIGURE_LOGGING": "0",  # our own handlers get its errors
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer's threads are not to be nailed to a core
    "TOKENIZERS_PARALLELISM": "false",
}


class VllmRollout:
    """One engine a process: another may follow after `close`. With several processes each builds its own, all at once.

    Response ``j`` to prompt ``i`` of a call is drawn with the seed ``sampling.seed + i * num_responses + j``; a temperature
    of 0 takes the most likely tokens, with their log-probs at temperature 1.
    """

    _open: ClassVar["weakref.ref[VllmRollout] | None"] = None

    def __init__(
        self, *, model_folder: Path, dtype: str, max_model_len: int, kv_cache_mib: int, threads: int, device: torch.device
    ) -> None:
        """Build the engine.

        Args:
            model_folder: With configuration and weights in safetensors; not needed afterwards.
            dtype: ``float32`` or ``bfloat16``.
            max_model_len: Most tokens of prompt and response.
            kv_cache_mib: Memory of the cache of keys and values.
            threads: On the CPU.
            device: Where it computes.

        Raises:
            RolloutError: vLLM is not installed or cannot serve this model here, or another engine is open.
        """
        other = VllmRollout._open() if VllmRollout._open is not None else None
        if other is not None and other._llm is not None:
            raise RolloutError("rollout=vllm: this process has an engine already; close it before building another.")
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
        # At the process's end, too: vLLM would then shut down outside of the isolation, and stumble.
        self._finalizer = weakref.finalize(self, _shut_down, self._llm, self._isolation)
        VllmRollout._open = weakref.ref(self)

    def __repr__(self) -> str:
        return f"VllmRollout(dtype={self._dtype!r}, max_model_len={self._max_model_len})"

    @property
    def dtype(self) -> str:
        """``float32`` or ``bfloat16``: what it computes in."""
        return self._dtype

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take over the policy's weights, and forget what was cached under the old ones.

        Args:
            weights: Every parameter by its name in the Hugging Face model, adapters merged; a tied one once.

        Raises:
            RolloutError: The weights are another model's, or the engine has failed: it is of no use then, and is to be closed.
        """
        with self._working("taking over weights") as llm:
            checked = checked_weights(weights, self._shapes, engine="vllm")
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": checked})
            if self._is_cpu:
                llm.apply_model(_repack)
            if not llm.reset_prefix_cache():
                raise RolloutError("rollout=vllm: what was cached under the old weights cannot be forgotten.")

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses.

        Args:
            prompts: Token ids, each at least one.
            sampling: How; its stop tokens alone end a response.

        Returns:
            ``sampling.num_responses`` a prompt, in the prompts' order. In float32 a response depends on its prompt, its
            place and the seed, not on the others in the call.

        Raises:
            RolloutError: A prompt does not fit; or the engine has failed, and is to be closed.
        """
        check_prompts(prompts, sampling, max_model_len=self._max_model_len, vocabulary=self._vocabulary, engine="vllm")
        with self._working("generating") as llm:
            if not prompts:
                return []
            from vllm import TokensPrompt

            asked = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
            answers = llm.generate(asked, _settings(len(prompts), sampling), use_tqdm=False)
            responses = [[_response(output, sampling) for output in answer.outputs] for answer in answers]
        # The most likely response is asked for once.
        return [own * sampling.num_responses for own in responses] if sampling.temperature == 0 else responses

    def close(self) -> None:
        """Free everything; may be called again."""
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
            "logprobs_mode": "processed_logprobs",  # under the temperature
            "generation_config": "vllm",  # the model's own would sample otherwise than asked
            "skip_tokenizer_init": True,
            "use_tqdm_on_load": False,
        }
        if self._is_cpu:
            # Without pieces a whole prompt has to fit into a step.
            batched = max(self._max_model_len, 4096)
            options |= {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": batched}
            return options | {"block_size": CPU_BLOCK_TOKENS}
        # The share of the GPU is compared with what is free beside the trainer, and else the cache's size alone counts.
        options["gpu_memory_utilization"] = 0.01
        return options | ({} if device.index is None else {"device_ids": [device.index]})

    @contextmanager
    def _working(self, doing: str) -> Iterator[Any]:
        """The engine, apart from the trainer; whatever interrupts it leaves it unfit for more.

        Yields:
            vLLM's ``LLM``.

        Raises:
            RolloutError: It is closed or unfit, or fails now.
        """
        if self._llm is None or self._failure is not None:
            state = "is closed" if self._llm is None else f"has failed before ({self._failure})"
            raise RolloutError(f"rollout=vllm: the engine {state}; close it and build another.")
        try:
            with self._isolation.entered(), torch.no_grad():
                yield self._llm
        except BaseException as error:
            self._failure = f"{doing}: {_first_line(error)}"
            if isinstance(error, RolloutError) or not isinstance(error, Exception):
                raise
            raise RolloutError(
                f"rollout=vllm: the engine failed while {self._failure}. Close it and build another; rollout=transformers "
                "needs nothing of vLLM."
            ) from error


def _build(model_folder: Path, device: torch.device, options: dict[str, Any]) -> Any:
    try:
        from vllm import LLM
        from vllm.platforms import current_platform
    except ImportError as error:
        raise RolloutError(
            f"rollout=vllm: vLLM cannot be imported ({_first_line(error)}). Run `make install`, or take rollout=transformers."
        ) from error
    if current_platform.device_type != device.type:
        raise RolloutError(
            f"rollout=vllm: the vLLM that is installed computes on {current_platform.device_type or 'nothing here'}, the "
            f"trainer on {device.type}. Install the other one (extras `cpu` and `gpu`), or take rollout=transformers."
        )
    if device.type == "cpu":
        # Linux lets a process use a processor's AMX tiles once it has asked; vLLM's attention in bfloat16 does not ask.
        torch.cpu._init_amx()
    current_platform.import_kernels()
    try:
        with _unbound_memory():
            return LLM(str(model_folder), **options)
    except Exception as error:
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()  # or what was begun stands in the way of the next engine
        raise RolloutError(
            f"rollout=vllm: no engine for this model, data.max_length={options['max_model_len']} and rollout.kv_cache_mib="
            f"{options['kv_cache_memory_bytes'] // _MIB}: {_first_line(error)}. rollout=transformers runs every model."
        ) from error


@contextmanager
def _unbound_memory() -> Iterator[None]:
    """Keep vLLM from binding the whole process, the trainer's memory included, to one node of the machine's memory."""
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
        # What a sync notes down about layers holds on to them, packed weights and all; there is no other engine.
        LAYERWISE_INFO.clear()


def _repack(model: nn.Module) -> None:
    """Lay linear layers out for the CPU's kernels, from the weights that were loaded."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        # An empty weight was consumed by its packing, which reloading has done already.
        if hasattr(module, "cpu_linear") and weight is not None and weight.numel():
            method: Any = module.quant_method
            method.process_weights_after_loading(module)


def _settings(num_prompts: int, sampling: Sampling) -> list[Any]:
    from vllm import SamplingParams

    return [
        SamplingParams(
            n=sampling.num_responses if sampling.temperature > 0 else 1,
            seed=sampling.seed + place * sampling.num_responses,  # vLLM counts on from it for the others
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            logprobs=0,  # of the drawn token alone
            detokenize=False,
            ignore_eos=True,  # what ends a response is said by the next line
            stop_token_ids=list(sampling.stop_token_ids),
        )
        for place in range(num_prompts)
    ]


def _response(output: Any, sampling: Sampling) -> Response:
    token_ids, reason = tuple(output.token_ids), output.finish_reason
    if reason != "stop" and (reason != "length" or len(token_ids) != sampling.max_tokens):
        raise RolloutError(f"rollout=vllm: a response broke off after {len(token_ids)} tokens ({reason}).")
    logprobs = tuple(float(of_place[token].logprob) for of_place, token in zip(output.logprobs, token_ids, strict=True))
    return Response(token_ids=token_ids, logprobs=logprobs, is_finished=reason == "stop")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
