"""The reference engine: transformers' ``generate`` on a copy of the policy. Slow and simple; tests compare vLLM with it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drpt.memory import release_memory
from drpt.models.limits import LimitError, check_positions
from drpt.models.merged import merged_weights
from drpt.models.pretrained import LoadingError, load_pretrained
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Response, Sampling
from drpt.rollouts.requests import check_prompts, checked_weights


class TransformersRollout:
    """Engine with a separate model, into which a sync copies the policy's weights.

    Every response has its own random generator, with the seed that vLLM would use (see `VllmRollout`), though the draws
    differ from vLLM's. Up to rounding, a response does not depend on the rest of the batch.
    """

    def __init__(
        self, *, model_folder: Path, dtype: str, max_model_len: int, device: torch.device, batch_rows: int = 64
    ) -> None:
        """Load the model.

        Args:
            model_folder: Folder with configuration and weights in safetensors; not needed afterwards.
            dtype: Floating-point type: ``float32`` or ``bfloat16``.
            max_model_len: Largest number of tokens of prompt and response together.
            device: Device of the model.
            batch_rows: Number of responses drawn in one batch.

        Raises:
            RolloutError: transformers cannot load a model from the folder, or the model has too few positions.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        self._dtype, self._max_model_len = dtype, max_model_len
        self._device, self._batch_rows = device, batch_rows
        try:
            # The folder has all weights, so that none is initialised and the seed has no effect.
            label = f"rollout=transformers: {model_folder}"
            config = AutoConfig.from_pretrained(model_folder, trust_remote_code=False)
            check_positions(config, label=label, wanted=max_model_len, option=f"max_model_len={max_model_len}")
            model = load_pretrained(AutoModelForCausalLM, model_folder, label=label, seed=0, dtype=getattr(torch, dtype))
        except (LimitError, LoadingError) as error:
            raise RolloutError(str(error)) from error
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise RolloutError(f"rollout=transformers: {model_folder} cannot be loaded ({reason}).") from error
        self._model: Any = model.to(device).eval().requires_grad_(False)  # Any: transformers has no types

    def __repr__(self) -> str:
        return f"TransformersRollout(dtype={self._dtype!r}, max_model_len={self._max_model_len})"

    @property
    def dtype(self) -> str:
        """The engine's floating-point type: ``float32`` or ``bfloat16``."""
        return self._dtype

    @torch.no_grad()
    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy the policy's weights into the engine's model.

        Args:
            weights: Name in the Hugging Face model and value of every parameter, adapters merged, tied parameters once.

        Raises:
            RolloutError: The weights belong to another model.
        """
        own = dict(merged_weights(self._opened()))
        shapes = {name: values.shape for name, values in own.items()}
        for name, values in checked_weights(weights, shapes, engine="transformers"):
            own[name].copy_(values)

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses, in batches of prompts of similar length.

        Args:
            prompts: Token ids of each prompt; at least one.
            sampling: Sampling settings; only their stop tokens end a response.

        Returns:
            ``sampling.num_responses`` responses for each prompt, in the prompts' order.

        Raises:
            RolloutError: The engine is closed, or a prompt is invalid or too long.
        """
        model, count = self._opened(), sampling.num_responses
        vocabulary = model.get_input_embeddings().num_embeddings
        check_prompts(prompts, sampling, max_model_len=self._max_model_len, vocabulary=vocabulary, engine="transformers")
        rows = sorted(range(len(prompts) * count), key=lambda row: -len(prompts[row // count]))
        found: dict[int, Response] = {}
        for start in range(0, len(rows), self._batch_rows):
            batch = rows[start : start + self._batch_rows]
            seeds = [sampling.seed + row for row in batch]
            found |= dict(zip(batch, self._draw([prompts[row // count] for row in batch], seeds, sampling), strict=True))
        return [[found[place * count + number] for number in range(count)] for place in range(len(prompts))]

    def close(self) -> None:
        """Free the model; further calls have no effect."""
        self._model = None
        release_memory()

    def _opened(self) -> Any:
        if self._model is None:
            raise RolloutError("rollout=transformers: the engine is closed; build a new one.")
        return self._model

    def _draw(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Response]:
        from transformers import GenerationConfig

        length = max(map(len, prompts))
        padded = [[0] * (length - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        drawing = _Drawing(sampling, seeds)
        # A new configuration: the model's own may penalise repetition or truncate the distribution.
        settings = GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            do_sample=False,  # the drawing leaves only one token possible
            eos_token_id=list(sampling.stop_token_ids) or None,
            pad_token_id=0,
        )
        tokens = self._model.generate(
            torch.tensor(padded, device=self._device),
            attention_mask=torch.tensor(mask, device=self._device),
            generation_config=settings,
            logits_processor=[drawing],
        )
        logprobs = torch.stack(drawing.logprobs, dim=1).tolist()
        return [_response(row, of_row, sampling) for row, of_row in zip(tokens[:, length:].tolist(), logprobs, strict=True)]


class _Drawing:
    """A logits processor that draws each row's next token with the row's own generator and rules out all others.

    ``argmax_v(log p_v + Gumbel noise)`` has the distribution p; the noise is ``-log E`` with E exponential.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.logprobs: list[Tensor] = []  # log-probabilities of the drawn tokens, in nats; one tensor [row] for each step

    def __call__(self, token_ids: Tensor, logits: Tensor) -> Tensor:
        logprobs = _log_probabilities(logits.float(), self._sampling)  # [row, token]
        scores = logprobs
        if self._sampling.temperature > 0:
            noise = torch.empty(logprobs.shape)
            for row, generator in zip(noise, self._generators, strict=True):
                row.exponential_(generator=generator)
            scores = logprobs - noise.log().to(logprobs.device)
        drawn = scores.argmax(dim=-1, keepdim=True)
        self.logprobs.append(logprobs.gather(1, drawn)[:, 0].cpu())
        return torch.full_like(logprobs, -torch.inf).scatter(1, drawn, 0.0)


def _log_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities [row, token] of the next token under the sampling settings; a temperature of 0 counts as 1."""
    scaled = logits / (sampling.temperature or 1.0)
    if sampling.top_k:
        least = scaled.topk(min(sampling.top_k, scaled.shape[-1])).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, places = scaled.sort(descending=True)
        shares = ordered.softmax(dim=-1)
        is_dropped = torch.zeros_like(scaled, dtype=torch.bool)
        is_dropped.scatter_(1, places, shares.cumsum(dim=-1) - shares >= sampling.top_p)
        scaled = scaled.masked_fill(is_dropped, -torch.inf)
    return scaled.log_softmax(dim=-1)


def _response(tokens: list[int], logprobs: list[float], sampling: Sampling) -> Response:
    stops = [place for place, token in enumerate(tokens) if token in sampling.stop_token_ids]
    length = stops[0] + 1 if stops else len(tokens)  # the rest is padding
    return Response(token_ids=tuple(tokens[:length]), logprobs=tuple(logprobs[:length]), is_finished=bool(stops))
