"""`reduced`: form the target gradient's block ``V [left, right]``, then ``<g_i, V> = Σ_t left_it · (V right_it)``.

One product the size of a forward pass. Sums are taken in float32 or better; below float32, V is rounded to the factors' dtype.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, accumulating
from drpt.capture.products.step_examples import StepExamples


def alignment(uses: Sequence[FactoredGradient], examples: StepExamples) -> tuple[Float[Tensor, " general"], Float[Tensor, ""]]:
    """Alignments with the target gradient, and its square.

    Args:
        uses: All uses of one parameter in the step that this process holds.
        examples: Of the step.

    Returns:
        ``<g_i, v>`` [general] and ``<v, v>``.
    """
    target_grad = sum_of_gradients(uses, examples, examples.num_general, examples.num_examples) / examples.num_target
    found = examples.collectives.add_up(along(uses, target_grad, examples.num_general, examples))
    return found[: examples.num_general], target_grad.square().sum()


def gramian(uses: Sequence[FactoredGradient], examples: StepExamples, count: int) -> Float[Tensor, "example example"]:
    """``<g_i, g_j>`` of the first ``count`` examples: each g_j formed in turn, and all tokens mapped through it."""
    columns = [
        examples.collectives.add_up(along(uses, sum_of_gradients(uses, examples, j, j + 1), count, examples))[:count]
        for j in range(count)
    ]
    return torch.stack(columns, dim=1)


def sum_of_gradients(
    uses: Sequence[FactoredGradient], examples: StepExamples, first: int, stop: int
) -> Float[Tensor, "left right"]:
    """The sum over the examples from ``first`` to before ``stop``, of all processes.

    Args:
        uses: Of one parameter.
        examples: Of the step.
        first: Of the examples.
        stop: Behind the last.

    Returns:
        In float32 or better.
    """
    total: Tensor | None = None
    for use in uses:
        tokens = slice(use.segments.tokens_before(first), use.segments.tokens_before(stop))
        part = accumulating(use.gradient(tokens))
        total = part if total is None else total + part
    assert total is not None
    return examples.collectives.add_up(total)


def along(
    uses: Sequence[FactoredGradient], direction: Float[Tensor, "left right"], count: int, examples: StepExamples
) -> Float[Tensor, " example"]:
    """Inner products of the first ``count`` examples' gradients with a direction; zero for others, and those not here.

    Args:
        uses: Of one parameter.
        direction: In the parameter's shape.
        count: Of the examples.
        examples: Of the step.

    Returns:
        One number an example of the step.
    """
    total: Tensor | None = None
    for use in uses:
        segments = use.segments.part(0, count)
        tokens = slice(0, segments.num_tokens)
        left, right = use.left.values[tokens], use.right.values[tokens]
        rounded = direction.to(right.dtype)
        if use.left.is_ids:
            per_token = accumulating(direction[left]) * accumulating(right)
        elif left.shape[1] > right.shape[1]:  # the narrower way
            per_token = accumulating(left @ rounded) * accumulating(right)
        else:
            per_token = accumulating(right @ rounded.T) * accumulating(left)
        sums = segments.scatter(segments.sums(per_token.sum(dim=1)), examples.num_examples)
        total = sums if total is None else total + sums
    assert total is not None
    return total
