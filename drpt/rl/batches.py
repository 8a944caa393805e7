"""From trajectories to the tensors that a model is given, and to the minibatches of a phase."""

import random
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drpt.data.batch import TokenBatch, pad_rows
from drpt.data.chat import EncodedExample
from drpt.data.example import Example
from drpt.rl.trajectory import Trajectory

_NO_EXAMPLE = Example(messages=(), source="a rollout")


def token_batch(trajectories: Sequence[Trajectory], *, pad_token_id: int, examples: Sequence[int] | None = None) -> TokenBatch:
    """Prompts and responses as a padded batch.

    Args:
        trajectories: Trajectories of the batch, in its order.
        pad_token_id: Token id that fills shorter rows.
        examples: Indices of the trajectories within the optimizer step, ascending; 0, 1, 2, … if left out.

    Returns:
        A batch whose loss mask marks the responses.
    """
    encoded = [
        EncodedExample(
            example=_NO_EXAMPLE,
            token_ids=one.prompt + one.response,
            loss_mask=[False] * len(one.prompt) + [True] * len(one.response),
            prompt_ids=one.prompt,
        )
        for one in trajectories
    ]
    return pad_rows(encoded, pad_token_id=pad_token_id, examples=examples)


def at_tokens(values: Sequence[Sequence[float]], mask: Bool[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """Numbers of response tokens, put where the tokens stand in a batch.

    Args:
        values: One list for each row of the batch, with one number for each of its response tokens.
        mask: Loss mask of the batch.

    Returns:
        The numbers in float32; 0 where the mask is not set.

    Raises:
        ValueError: A list does not have as many numbers as its row has response tokens.
    """
    wanted, found = mask.sum(dim=1).tolist(), [len(row) for row in values]
    if wanted != found:
        raise ValueError(f"rows of {wanted} response tokens have {found} numbers")
    flat = torch.tensor([value for row in values for value in row], dtype=torch.float32, device=mask.device)
    return torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_scatter(mask, flat)


def by_length(trajectories: Sequence[Trajectory], batch_rows: int) -> Iterator[list[int]]:
    """Batches of similar length, the longest first: little padding, and the first batch needs the most memory.

    Args:
        trajectories: Trajectories to put into batches.
        batch_rows: Largest number of trajectories of a batch.

    Yields:
        Indices of the trajectories of a batch, ascending.
    """
    lengths = [len(one.prompt) + len(one.response) for one in trajectories]
    order = sorted(range(len(trajectories)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_rows):
        yield sorted(order[start : start + batch_rows])


def minibatches(rows: Sequence[int], *, batch_rows: int, epochs: int, seed: int) -> list[list[int]]:
    """Trajectories of every optimizer step of a phase: each epoch a seeded shuffle, cut into minibatches.

    Args:
        rows: Indices of the trajectories that are trained on.
        batch_rows: Trajectories of an optimizer step; the last step of an epoch may have fewer.
        epochs: Number of times that every trajectory is trained on.
        seed: Seed of the phase's shuffles.

    Returns:
        One list of indices for each optimizer step.
    """
    order = random.Random(seed)
    batches = []
    for _ in range(epochs):
        shuffled = list(rows)
        order.shuffle(shuffled)
        batches += [shuffled[start : start + batch_rows] for start in range(0, len(shuffled), batch_rows)]
    return batches
