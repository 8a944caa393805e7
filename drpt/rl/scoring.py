"""Log-probabilities of given responses under a model, and values where it has a value head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.batch import TokenBatch
from drpt.models.predictions import predict
from drpt.models.reference import ReferenceModel
from drpt.models.value_head import PolicyWithValues, language_model, values_of_tokens
from drpt.objectives.counted import predicting_places
from drpt.objectives.policy import ResponseTokens, response_tokens
from drpt.rl.batches import by_length, token_batch
from drpt.rl.trajectory import Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScores:
    """Scores of a batch's response tokens."""

    tokens: ResponseTokens
    values: Float[Tensor, "row token"] | None  # of the state before each token; None without a value head


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseScores:
    """Scores of trajectories: one list for each of them, with one number for each response token."""

    logprobs: list[list[float]]  # nats
    values: list[list[float]]  # of the state before each token; empty without a value head


def score_batch(
    model: Any,  # Any: transformers has no types
    tokens: TokenBatch,
    temperature: float,
    *,
    entropy_gradient: bool = False,
) -> BatchScores:
    """Log-probabilities, entropies and values of a batch's responses.

    Args:
        model: Causal language model, with a value head or without.
        tokens: Prompts and responses; the loss mask marks the responses.
        temperature: What logits are divided by; the one that the responses were drawn under.
        entropy_gradient: Whether gradients flow into the entropies, too.

    Returns:
        Scores [row, token]; log-probabilities and entropies are 0 outside the responses.
    """
    found = predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask))
    return BatchScores(
        tokens=response_tokens(
            found.logits, tokens.token_ids, tokens.loss_mask, temperature=temperature, entropy_gradient=entropy_gradient
        ),
        values=None if found.values is None else values_of_tokens(found.values),
    )


class Scorer:
    """Computes what the policy, its value head and the reference model say of trajectories, without gradients.

    Args:
        temperature: What logits are divided by; the one that the responses were drawn under.
        pad_token_id: Token id that fills shorter rows.
        batch_rows: Rows of a forward pass; scores depend on it by rounding alone.
        reference: Model before training; None where the divergence from it does not count.
        recomputes_logprobs: Whether the trainer computes the policy's log-probabilities; else they are the engine's.
    """

    def __init__(
        self,
        *,
        temperature: float,
        pad_token_id: int,
        batch_rows: int,
        reference: ReferenceModel | None = None,
        recomputes_logprobs: bool = False,
    ) -> None:
        self._temperature = temperature
        self._pad_token_id = pad_token_id
        self._batch_rows = batch_rows
        self._reference = reference
        self._recomputes_logprobs = recomputes_logprobs

    def follow(self, model: nn.Module) -> None:
        """Bring the reference model to the policy's device and dtype."""
        parameter = next(language_model(model).parameters())
        if self._reference is not None:
            self._reference.to(parameter.device, parameter.dtype)

    def fill_in(self, trajectories: Sequence[Trajectory], model: nn.Module) -> None:
        """Fill in log-probabilities under the policy and the reference model, and values where there is a value head.

        Args:
            trajectories: Trajectories as the sampler leaves them.
            model: Policy that drew them.
        """
        for one in trajectories:
            one.old_logprobs = one.engine_logprobs
        if self._recomputes_logprobs or isinstance(model, PolicyWithValues):
            scores = self.score(trajectories, model)
            if scores.values:  # there are none without a value head
                for one, values in zip(trajectories, scores.values, strict=True):
                    one.values = values
            if self._recomputes_logprobs:
                for one, logprobs in zip(trajectories, scores.logprobs, strict=True):
                    one.old_logprobs = logprobs
        if self._reference is not None:
            with self._reference.active() as reference:
                found = self.score(trajectories, reference).logprobs
            for one, logprobs in zip(trajectories, found, strict=True):
                one.reference_logprobs = logprobs

    @torch.no_grad()
    def score(self, trajectories: Sequence[Trajectory], model: nn.Module) -> ResponseScores:
        """Log-probabilities and values of all response tokens.

        Args:
            trajectories: Trajectories to score.
            model: Model in the mode in which it is trained.

        Returns:
            Scores in the order of the trajectories.
        """
        device = next(model.parameters()).device
        logprobs: dict[int, list[float]] = {}
        values: dict[int, list[float]] = {}
        for indices in by_length(trajectories, self._batch_rows):
            tokens = token_batch([trajectories[index] for index in indices], pad_token_id=self._pad_token_id).to(device)
            scores = score_batch(model, tokens, self._temperature)
            for row, index in enumerate(indices):
                mask = tokens.loss_mask[row]
                logprobs[index] = scores.tokens.logprobs[row][mask].tolist()
                if scores.values is not None:
                    values[index] = scores.values[row][mask].tolist()
        order = range(len(trajectories))
        return ResponseScores(
            logprobs=[logprobs[index] for index in order], values=[values[index] for index in order] if values else []
        )
