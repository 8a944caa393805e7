"""vLLM in the trainer's own process: the default engine, on a CPU or a GPU.

What is done here besides calling it is needed with vLLM 0.32, and tested: weights are repacked after a sync on the CPU, where a
tied head would silently keep the old ones; the prefix cache is emptied, which would answer with the old ones; prompts are not
prefilled in pieces on the CPU, where seeded requests cannot be.
"""

import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from drpt.rollouts.isolation import Isolation
from drpt.rollouts.protocol import Response, RolloutError, Sampling

_MIB = 2**20
_SEEDS = 2**31
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # or the engine would be a process of its own
    "VLLM_CONFIGURE_LOGGING": "0",  # its own set-up would close the files that others log to
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer's threads are not to be nailed to a core
    "TOKENIZERS_PARALLELISM": "false",
}
# A request that lasts this long is in the engine's hands as one of at most so many.
_MOST_SEQUENCES = 256
# bfloat16 attention of the CPU build ends the process for shorter prompts on some processors.
_SHORTEST_BF16_PROMPT = 8


class VllmRollout:
    """An engine that lives as long as its run; another may follow after `close`.

    Args:
        model_folder: With configuration and weights in safetensors.
        dtype: ``float32`` or ``bfloat16``.
        max_model_len: Most tokens of prompt and response.
        kv_cache_mib: Memory of the cache of keys and values.
        threads: On the CPU.
        device: Where it computes.

    Raises:
        RolloutError: vLLM is not installed, or cannot serve this model here.
    """

    def __init__(
        self, *, model_folder: Path, dtype: str, max_model_len: int, kv_cache_mib: int, threads: int, device: torch.device
    ) -> None:
        self.dtype = dtype
        self._max_model_len = max_model_len
        self._is_cpu = device.type == "cpu"
        self._isolation = Isolation(_ENVIRONMENT, threads=threads)
        self._llm: Any = None  # Any: vllm has no types that we check
        options: dict[str, Any] = {"enforce_eager": True, "enable_chunked_prefill": False} if self._is_cpu else {}
        if self._is_cpu:  # one prompt at least must fit into a step
            options["max_num_batched_tokens"] = max(max_model_len, 4096)
        with self._isolation.entered():
            try:
                from vllm import LLM

                self._llm = LLM(
                    str(model_folder),
                    dtype=dtype,
                    max_model_len=max_model_len,
                    kv_cache_memory_bytes=kv_cache_mib * _MIB,
                    max_num_seqs=_MOST_SEQUENCES,
                    logprobs_mode="processed_logprobs",  # under the temperature
                    generation_config="vllm",  # the model's own defaults would sample otherwise than asked
                    skip_tokenizer_init=True,
                    use_tqdm_on_load=False,
                    **options,
                )
            except ImportError as error:
                raise RolloutError(f"rollout=vllm: vLLM cannot be imported ({error}): run `make install`.") from error
            except Exception as error:  # whatever it raises means the same to the reader
                self._end()
                raise RolloutError(f"rollout=vllm: the engine cannot be built: {_first_line(error)}") from error

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See `drpt.rollouts.protocol.Rollout`."""
        llm = self._open()
        with self._isolation.entered(), torch.no_grad():
            try:
                llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
                if self._is_cpu:
                    llm.apply_model(_repack)
                llm.reset_prefix_cache()
            except Exception as error:
                raise RolloutError(f"rollout=vllm: the engine does not take the weights: {_first_line(error)}") from error

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """See `drpt.rollouts.protocol.Rollout`."""
        llm = self._open()
        self._check(prompts, sampling)
        with self._isolation.entered():
            from vllm import SamplingParams, TokensPrompt

            settings = [
                SamplingParams(
                    n=sampling.num_responses,
                    # Responses to one prompt take this seed and those after it.
                    seed=(sampling.seed + place * sampling.num_responses) % _SEEDS,
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    top_k=sampling.top_k,
                    logprobs=0,  # of the drawn token alone
                    detokenize=False,
                    ignore_eos=True,  # what ends a response is said by the next line
                    stop_token_ids=list(sampling.stop_token_ids),
                )
                for place in range(len(prompts))
            ]
            asked = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
            try:
                answers = llm.generate(asked, settings, use_tqdm=False)
            except Exception as error:
                raise RolloutError(f"rollout=vllm: the engine failed while generating: {_first_line(error)}") from error
        return [[_response(output) for output in answer.outputs] for answer in answers]

    def close(self) -> None:
        """See `drpt.rollouts.protocol.Rollout`."""
        if self._llm is not None:
            with self._isolation.entered():
                self._end()

    def _open(self) -> Any:
        if self._llm is None:
            raise RolloutError("rollout=vllm: the engine is closed.")
        return self._llm

    def _end(self) -> None:
        llm, self._llm = self._llm, None
        try:
            if llm is not None:
                llm.llm_engine.engine_core.shutdown()
        finally:
            del llm
            gc.collect()
            if not self._is_cpu:
                torch.cuda.empty_cache()

    def _check(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
        shortest = _SHORTEST_BF16_PROMPT if self._is_cpu and self.dtype == "bfloat16" else 1
        for place, prompt in enumerate(prompts):
            if len(prompt) + sampling.max_tokens > self._max_model_len:
                raise RolloutError(
                    f"rollout=vllm: prompt {place} has {len(prompt)} tokens; with {sampling.max_tokens} of a response that is "
                    f"more than the engine's {self._max_model_len} (data.max_length)."
                )
            if len(prompt) < shortest:
                raise RolloutError(
                    f"rollout=vllm: prompt {place} has {len(prompt)} tokens; at least {shortest} are needed"
                    + (" in bfloat16 on a CPU; take rollout.dtype=float32." if shortest > 1 else ".")
                )


def _repack(model: nn.Module) -> None:
    """Lay out linear layers anew for the CPU's kernels, from the weights that were loaded."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if hasattr(module, "cpu_linear") and weight is not None and weight.numel():
            method: Any = module.quant_method
            method.process_weights_after_loading(module)


def _response(output: Any) -> Response:
    token_ids = tuple(output.token_ids)
    return Response(
        token_ids=token_ids,
        logprobs=tuple(float(of_place[token].logprob) for of_place, token in zip(output.logprobs, token_ids, strict=True)),
        is_finished=output.finish_reason == "stop",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
