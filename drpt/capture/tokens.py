"""One factor of the per-token outer products that a gradient is made of, and what is computed of it once for several uses.

The activations of q, k and v, or of gate and up, are one tensor: their sketches and inner products are computed once.
"""

from collections import deque
from collections.abc import Callable, Hashable

from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.segments import Layout, Segments


class TokenVectors:
    """A vector for each token, or an integer that stands for the unit vector with its one at that place.

    Args:
        values: One vector or integer a token.
    """

    def __init__(self, values: Float[Tensor, "token width"] | Int[Tensor, " token"]) -> None:
        self.values = values
        self._memo: dict[Hashable, Tensor] = {}

    @property
    def is_ids(self) -> bool:
        """Whether integers stand for unit vectors."""
        return self.values.ndim == 1

    def once(self, name: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(values)``, remembered under ``name`` for as long as this object lives."""
        if name not in self._memo:
            self._memo[name] = compute(self.values)
        return self._memo[name]


class RecentTokens:
    """Recognises the tensors that the backward pass has just handed out, so that what was computed of them is found again.

    A tensor is known by its storage, place, shape and version; it is kept alive while it can be recognised, so that its
    storage cannot have become another's.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[Hashable, Tensor, TokenVectors, Segments]] = deque(maxlen=2)

    def vectors(self, tensor: Tensor, layout: Layout) -> tuple[TokenVectors, Segments]:
        """The tensor token after token; see `Layout.flatten`.

        Args:
            tensor: Activations, output gradients or token ids, [row, token, …].
            layout: Of the batch.

        Returns:
            The vectors, and which are whose.
        """
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor._version, id(layout))
        for known, _, vectors, segments in self._recent:
            if known == key:
                return vectors, segments
        flat, segments = layout.flatten(tensor)
        vectors = TokenVectors(flat)
        self._recent.append((key, tensor, vectors, segments))
        return vectors, segments

    def forget(self) -> None:
        """Let go of the tensors."""
        self._recent.clear()
