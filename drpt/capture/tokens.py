"""One factor of the per-token outer products that a gradient is made of, and what is computed of it once for several uses.

The activations of q, k and v, or of gate and up, are one tensor: their sketches and inner products are computed once.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.segments import Layout, Segments

REMEMBERED_BYTES = 128 * 2**20


class Memo:
    """The results that were asked for last, of at most `REMEMBERED_BYTES` together.

    Modules that share activations are neighbours in the backward pass, so that these are enough.
    """

    def __init__(self) -> None:
        self._results: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._num_bytes = 0

    def once(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """``compute()``, or what it gave a short while ago."""
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key]
        result = compute()
        if result.nbytes > REMEMBERED_BYTES:
            return result
        self._results[key] = result
        self._num_bytes += result.nbytes
        while self._num_bytes > REMEMBERED_BYTES:
            self._num_bytes -= self._results.popitem(last=False)[1].nbytes
        return result

    def forget(self) -> None:
        """Forget all results."""
        self._results.clear()
        self._num_bytes = 0


class TokenVectors:
    """A vector for each token, or an integer that stands for the unit vector with its one at that place.

    Args:
        values: Vectors [token, width], or integers [token] that stand for unit vectors.
        memo: Remembers what is computed of them; None where nothing else will ask for it.
    """

    def __init__(self, values: Float[Tensor, "token width"] | Int[Tensor, " token"], memo: Memo | None = None) -> None:
        self.values = values
        self._memo = memo
        self._mark = object()  # stands for this object in the memo, which keeps neither it nor its values alive

    @property
    def is_ids(self) -> bool:
        """Whether integers stand for unit vectors."""
        return self.values.ndim == 1

    def once(self, name: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(values)``, found again under ``name`` by whoever asks soon."""
        if self._memo is None:
            return compute(self.values)
        return self._memo.once((self._mark, name), lambda: compute(self.values))


class RecentTokens:
    """Recognises the tensors that the backward pass has just handed out, so that what was computed of them is found again.

    A tensor is known by its storage, place, shape and version; it is kept alive while it can be recognised, so that its
    storage cannot have become another's.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[Hashable, Tensor, TokenVectors, Segments]] = deque(maxlen=2)
        self._memo = Memo()

    def vectors(self, tensor: Tensor, layout: Layout) -> tuple[TokenVectors, Segments]:
        """The tensor token after token; see `Layout.flatten`.

        Args:
            tensor: Activations, output gradients or token ids, [row, token, …].
            layout: Where the batch's examples are in its activations.

        Returns:
            The vectors, and which are whose.
        """
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor._version, id(layout))
        for known, _, vectors, segments in self._recent:
            if known == key:
                return vectors, segments
        flat, segments = layout.flatten(tensor)
        vectors = TokenVectors(flat, self._memo)
        self._recent.append((key, tensor, vectors, segments))
        return vectors, segments

    def forget(self) -> None:
        """Let go of the tensors."""
        self._recent.clear()
        self._memo.forget()
