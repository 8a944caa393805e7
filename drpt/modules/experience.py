"""What a policy said in one rollout phase and what it was worth, in plain values that a checkpoint keeps."""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.data.batch import TokenBatch, pad_rows
from drpt.data.chat import EncodedExample
from drpt.data.example import Example
from drpt.errors import NonFiniteError

_NO_EXAMPLE = Example(messages=(), source="a rollout")


@dataclass(slots=True, kw_only=True)
class Experience:
    """Responses, one a row; all lists are of one length."""

    prompts: list[list[int]] = field(default_factory=list)  # token ids
    responses: list[list[int]] = field(default_factory=list)  # token ids, the one that ended it included
    groups: list[int] = field(default_factory=list)  # which prompt of the phase; rows of one group answer the same
    rewards: list[float] = field(default_factory=list)
    advantages: list[float] = field(default_factory=list)  # one for all tokens of a row; empty where each has its own
    token_advantages: list[list[float]] = field(default_factory=list)  # of algorithms with a value function, as the next two
    values: list[list[float]] = field(default_factory=list)  # of the state before each token, when the phase began
    returns: list[list[float]] = field(default_factory=list)  # that the value function is trained on
    engine_logprobs: list[list[float]] = field(default_factory=list)  # nats a token, when it was drawn
    old_logprobs: list[list[float]] = field(default_factory=list)  # of the policy that the phase began with
    reference_logprobs: list[list[float]] = field(default_factory=list)  # of the model before training; empty without one

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def num_tokens(self) -> list[int]:
        """Tokens of each response."""
        return [len(response) for response in self.responses]

    def state_dict(self) -> dict[str, Any]:
        """Plain lists of numbers."""
        return asdict(self)

    def require_finite(self) -> None:
        """Refuse responses that someone finds impossible, or has no number for.

        Raises:
            NonFiniteError: A log-prob or a value is NaN or infinite.
        """
        who = {
            "engine_logprobs": "the engine",
            "old_logprobs": "the policy",
            "reference_logprobs": "the reference",
            "values": "the value head",
        }
        for name, whose in who.items():
            bad = [row for row, numbers in enumerate(getattr(self, name)) if not all(map(math.isfinite, numbers))]
            if bad:
                raise NonFiniteError(
                    f"{whose} gives {len(bad)} of {len(self)} responses {name} that are NaN or infinite (response {bad[0]} "
                    "first). A drawn token has a probability above 0: the weights compute no numbers, or the engine draws "
                    "from another distribution. Lower optimizer.lr, or take rollout=transformers to see whether the engine "
                    "is at fault."
                )

    def pick(self, rows: Sequence[int]) -> "Experience":
        """Some rows, in the order given."""
        return Experience(**{name: [values[row] for row in rows] if values else [] for name, values in asdict(self).items()})

    def tokens(self, rows: Sequence[int], *, pad_token_id: int, places: Sequence[int] | None = None) -> TokenBatch:
        """A padded batch of some rows.

        Args:
            rows: Which.
            pad_token_id: Fills the rest.
            places: Of the rows in the step, ascending; from 0 if left out.

        Returns:
            Prompts and responses; the loss mask marks the responses.
        """
        encoded = [
            EncodedExample(
                example=_NO_EXAMPLE,
                token_ids=self.prompts[row] + self.responses[row],
                loss_mask=[False] * len(self.prompts[row]) + [True] * len(self.responses[row]),
                prompt_ids=self.prompts[row],
            )
            for row in rows
        ]
        return pad_rows(encoded, pad_token_id=pad_token_id, examples=places)


def aligned(
    values: Sequence[Sequence[float]], rows: Sequence[int], mask: Bool[Tensor, "row token"]
) -> Float[Tensor, "row token"]:
    """Numbers of response tokens, put where the tokens stand; 0 elsewhere.

    Args:
        values: One list a row of the experience.
        rows: Which of them, in the batch's order.
        mask: The batch's loss mask.

    Returns:
        In float32.

    Raises:
        ValueError: A row has not as many numbers as the mask has tokens.
    """
    wanted, found = mask.sum(dim=1).tolist(), [len(values[row]) for row in rows]
    if wanted != found:
        raise ValueError(f"rows of {wanted} response tokens have {found} numbers")
    flat = torch.tensor([value for row in rows for value in values[row]], dtype=torch.float32, device=mask.device)
    return torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_scatter(mask, flat)


def joined(parts: Sequence[Experience]) -> Experience:
    """Several experiences as one, rows in their order."""
    columns = [asdict(part) for part in parts]
    return Experience(**{name: [value for column in columns for value in column[name]] for name in asdict(Experience())})


def minibatches(rows: Sequence[int], *, batch_rows: int, epochs: int, seed: int) -> list[list[int]]:
    """Rows of every optimizer step of a phase: each epoch a seeded shuffle, cut into batches; the last may be smaller.

    Args:
        rows: Of the experience, those to go through.
        batch_rows: Most rows of a step.
        epochs: Times that all rows are gone through.
        seed: Of the phase.

    Returns:
        One list of rows a step.
    """
    order = random.Random(seed)
    batches = []
    for _ in range(epochs):
        shuffled = list(rows)
        order.shuffle(shuffled)
        batches += [shuffled[start : start + batch_rows] for start in range(0, len(shuffled), batch_rows)]
    return batches
