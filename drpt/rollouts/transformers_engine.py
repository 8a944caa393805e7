"""transformers with a copy of the policy: slow, plain, and what the other engines are compared with."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drpt.rollouts.protocol import Response, RolloutError, Sampling

_BATCH_ROWS = 64


class TransformersRollout:
    """A model of its own, which a sync copies the policy's weights into.

    Every response has a random generator of its own, seeded by the call's seed and its place: what is drawn does not depend on
    what else is in the batch.

    Args:
        model_folder: With configuration and weights in safetensors.
        dtype: ``float32`` or ``bfloat16``.
        device: Where it computes.
        batch_rows: Responses drawn together.
    """

    def __init__(self, *, model_folder: Path, dtype: str, device: torch.device, batch_rows: int = _BATCH_ROWS) -> None:
        from transformers import AutoModelForCausalLM

        self.dtype = dtype
        self._device = device
        self._batch_rows = batch_rows
        model = AutoModelForCausalLM.from_pretrained(
            model_folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
        )
        self._model: Any = model.to(device).eval().requires_grad_(False)  # Any: transformers has no types

    @torch.no_grad()
    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See `drpt.rollouts.protocol.Rollout`."""
        own = dict(self._open().named_parameters(remove_duplicate=False))
        for name, values in weights:
            if name not in own or own[name].shape != values.shape:
                shape = tuple(own[name].shape) if name in own else "no parameter of that name"
                raise RolloutError(f"rollout=transformers: {name} {tuple(values.shape)} does not fit: the engine has {shape}.")
            own[name].copy_(values)

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """See `drpt.rollouts.protocol.Rollout`."""
        count = sampling.num_responses
        for place, prompt in enumerate(prompts):
            if not prompt:
                raise RolloutError(f"rollout=transformers: prompt {place} is empty.")
        rows = [(place, number) for place in range(len(prompts)) for number in range(count)]
        rows.sort(key=lambda row: -len(prompts[row[0]]))
        found: dict[tuple[int, int], Response] = {}
        for start in range(0, len(rows), self._batch_rows):
            batch = rows[start : start + self._batch_rows]
            seeds = [sampling.seed + place * count + number for place, number in batch]
            responses = self._draw([prompts[place] for place, _ in batch], seeds, sampling)
            found |= dict(zip(batch, responses, strict=True))
        return [[found[place, number] for number in range(count)] for place in range(len(prompts))]

    def close(self) -> None:
        """See `drpt.rollouts.protocol.Rollout`."""
        self._model = None

    def _open(self) -> Any:
        if self._model is None:
            raise RolloutError("rollout=transformers: the engine is closed.")
        return self._model

    def _draw(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Response]:
        """One response a prompt, token by token, with a cache."""
        model = self._open()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        length = max(map(len, prompts))
        ids = torch.tensor([[0] * (length - len(p)) + list(p) for p in prompts], device=self._device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=self._device)
        cache = None
        tokens: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        is_done = [False] * len(prompts)
        for _ in range(sampling.max_tokens):
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            of_next = _log_probabilities(output.logits[:, -1].float(), sampling).cpu()
            drawn = [
                int(row.argmax()) if sampling.temperature == 0 else int(torch.multinomial(row.exp(), 1, generator=generator))
                for row, generator in zip(of_next, generators, strict=True)
            ]
            for i, token in enumerate(drawn):
                if not is_done[i]:
                    tokens[i].append(token)
                    logprobs[i].append(float(of_next[i, token]))
                    is_done[i] = token in sampling.stop_token_ids
            if all(is_done):
                break
            ids = torch.tensor(drawn, device=self._device)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
        return [
            Response(token_ids=tuple(own), logprobs=tuple(values), is_finished=done)
            for own, values, done in zip(tokens, logprobs, is_done, strict=True)
        ]


def _log_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Of the next token under the settings; of the most likely one under temperature 1 where that is 0."""
    scaled = logits / (sampling.temperature or 1.0)
    if sampling.top_k:
        worst = scaled.topk(min(sampling.top_k, scaled.shape[-1])).values[:, -1:]
        scaled = scaled.masked_fill(scaled < worst, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, places = scaled.sort(descending=True)
        share_before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        dropped = torch.zeros_like(scaled, dtype=torch.bool).scatter(1, places, share_before >= sampling.top_p)
        scaled = scaled.masked_fill(dropped, -torch.inf)
    return scaled.log_softmax(dim=-1)
