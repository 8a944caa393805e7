"""The gradient that a rule forms, for comparison with autograd's, and the size of the rounding errors that it may have."""

from torch import Tensor

from drpt.capture.gradients import PerExampleGradient, UseGradient, accumulating


def formed_gradient(use: UseGradient) -> tuple[Tensor, float, float]:
    """The sum of all examples' gradients as a rule forms it, and how large its terms are.

    Args:
        use: What the backward pass left of one use of a parameter.

    Returns:
        The sum; the norm of those of its terms that were rounded one by one; the norm of those that were summed in float32 or
        better before they were rounded.
    """
    formed = use.update([1.0] * len(use.segments.examples), None)
    if isinstance(use, PerExampleGradient):
        return formed, float(accumulating(use.grads)[..., None].flatten(1).norm(dim=1).sum()), 0.0
    left, right = use.left.values, use.right.values
    if left.ndim == 2:
        return formed, 0.0, float(accumulating(right).norm()) * float(accumulating(left).norm())
    # torch adds up a table's rows in their own dtype, token after token.
    lengths = accumulating(right).norm(dim=1)
    return formed, float(lengths.new_zeros(use.num_left).index_add_(0, left, lengths).norm()), 0.0
