"""Which tokens belong to which example, once a batch's activations are laid out token after token.

Axes: segment = the tokens of one example, token = all tokens of the batch, row = rows of the batch.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Examples: TypeAlias = Sequence[int] | Int[Tensor, " row"]  # places in the step


class Segments:
    """Tokens of some of a step's examples, one example after another.

    The same object serves all layers of a batch, so that what it works out once is there for all of them.

    Args:
        examples: Ascending places in the step: general examples first, then target examples.
        lengths: Tokens of each.
    """

    def __init__(self, examples: tuple[int, ...], lengths: tuple[int, ...]) -> None:
        self.examples = examples
        self.lengths = lengths
        self.num_tokens = sum(lengths)
        self.uniform_length = lengths[0] if len(set(lengths)) == 1 else None  # if all are alike
        self._parts: dict[tuple[int, int], Segments] = {}
        self._tokens_before: dict[int, int] = {}
        self._segment_of_token: dict[torch.device, Tensor] = {}
        self._places: dict[torch.device, Tensor] = {}

    def tokens_before(self, example: int) -> int:
        """Tokens of the examples before ``example``: general ones come first, so that a slice takes them apart."""
        if example not in self._tokens_before:
            before = (length for place, length in zip(self.examples, self.lengths, strict=True) if place < example)
            self._tokens_before[example] = sum(before)
        return self._tokens_before[example]

    def part(self, first: int, stop: int) -> "Segments":
        """The segments of the examples from ``first`` to before ``stop``."""
        if (first, stop) not in self._parts:
            kept = [i for i, place in enumerate(self.examples) if first <= place < stop]
            self._parts[first, stop] = self if len(kept) == len(self.examples) else self.pick(kept)
        return self._parts[first, stop]

    def pick(self, places: Sequence[int]) -> "Segments":
        """Some of the segments, by their number."""
        return Segments(tuple(self.examples[i] for i in places), tuple(self.lengths[i] for i in places))

    def slices(self) -> list[slice]:
        """Where each segment's tokens are."""
        ends = list(accumulate(self.lengths))
        return [slice(end - length, end) for end, length in zip(ends, self.lengths, strict=True)]

    def sums(self, per_token: Float[Tensor, "token ..."]) -> Float[Tensor, "segment ..."]:
        """Sum over each segment's tokens."""
        length = self.uniform_length
        if length is not None:
            return per_token.unflatten(0, (len(self.lengths), length)).sum(dim=1)
        sums = per_token.new_zeros(len(self.lengths), *per_token.shape[1:])
        return sums.index_add_(0, self.of_token(per_token.device), per_token)

    def scatter(self, per_segment: Float[Tensor, "segment ..."], num_examples: int) -> Float[Tensor, "example ..."]:
        """Each segment's numbers at its example's place, zeros for examples that have no segment here."""
        if len(self.examples) == num_examples:
            return per_segment
        out = per_segment.new_zeros(num_examples, *per_segment.shape[1:])
        return out.index_copy_(0, self.places(per_segment.device), per_segment)

    def places(self, device: torch.device) -> Int[Tensor, " segment"]:
        """The examples, on a device."""
        if device not in self._places:
            self._places[device] = torch.tensor(self.examples, dtype=torch.long, device=device)
        return self._places[device]

    def of_token(self, device: torch.device) -> Int[Tensor, " token"]:
        """The number of each token's segment."""
        if device not in self._segment_of_token:
            lengths = torch.tensor(self.lengths, dtype=torch.long, device=device)
            self._segment_of_token[device] = torch.repeat_interleave(lengths, output_size=self.num_tokens)
        return self._segment_of_token[device]


class Layout:
    """Where the examples of one micro-batch are in its activations [row, token, …].

    Args:
        examples: The example of each row; used where ``example_of_token`` is None: a row is one example, all of it.
        example_of_token: Place of each token's example in the step, −1 for padding; padding is left out of every product.
    """

    def __init__(self, examples: Examples, example_of_token: Int[Tensor, "row token"] | None = None) -> None:
        self._rows = tuple(int(example) for example in examples)
        self._example_of_token = example_of_token
        self._places: Tensor | None = None
        self._segments: Segments | None = None
        self._uniform: dict[int, Segments] = {}
        self._by_count: dict[int, Segments] = {}
        self._is_packed = False
        self.num_rows = len(self._rows)
        self.num_tokens: int | None = None  # axis 1 of activations, where it is known
        self._lengths: set[int] = set()  # likewise, of activations met so far
        if example_of_token is not None:
            self.num_rows, self.num_tokens = example_of_token.shape
            self._read(example_of_token)
        if list(self._rows) != sorted(set(self._rows)):
            raise ValueError(f"examples={list(self._rows)} must be ascending places in the step, each at most once.")

    @property
    def examples(self) -> tuple[int, ...]:
        """Places in the step of the examples that are here, ascending."""
        return self._rows

    @property
    def is_packed(self) -> bool:
        """Whether a row holds several examples."""
        return self._is_packed

    def see_length(self, length: int) -> None:
        """Activations [row, token, …] have come by, of rows with so many tokens."""
        self._lengths.add(length)

    def is_flat(self, count: int) -> bool:
        """Whether a list of vectors can be the rows' tokens, one row after another.

        Args:
            count: Vectors in the list.

        Returns:
            Whether it holds as many tokens a row as rows have shown before; until they have, any number of them.
        """
        if self.num_rows == 0 or count % self.num_rows:
            return False
        length = count // self.num_rows
        lengths = self._lengths if self.num_tokens is None else {self.num_tokens}
        return length in lengths if lengths else True

    def example_of_flat_token(self, count: int, device: torch.device) -> Int[Tensor, " token"]:
        """The example of each token, one row after another; −1 for padding.

        Args:
            count: Tokens of the batch, padding included.
            device: Device of the result.

        Returns:
            Places in the step.
        """
        if self._example_of_token is not None and count == self._example_of_token.numel():
            return self._example_of_token.flatten().to(device)
        return torch.tensor(self._rows, device=device).repeat_interleave(count // max(self.num_rows, 1))

    def flatten(self, activations: Tensor) -> tuple[Tensor, Segments]:
        """Activations token after token, example after example, without padding; and which are whose.

        Args:
            activations: [row, token, …, width], or token ids [row, token]; axes between token and width count as tokens.

        Returns:
            [token, width] or [token], and the segments.
        """
        is_ids = not activations.is_floating_point()
        width = () if is_ids else activations.shape[-1:]
        if (
            self._places is not None
            and activations.ndim == 1 + len(width)
            and len(activations) == self.num_rows * (self.num_tokens or 0)
        ):
            activations = activations.unflatten(0, (self.num_rows, -1))
        if self._places is not None and self._has_tokens(activations.shape[: activations.ndim - len(width)]):
            per_token = activations.reshape(self.num_rows * activations.shape[1], -1, *width)[self._places]
            return per_token.flatten(0, 1), self._repeated(per_token.shape[1])
        flat = activations.reshape(-1, *width)
        return flat, self.uniform(len(flat) // self.num_rows)

    def _has_tokens(self, leading: Sequence[int]) -> bool:
        """Whether axis 1 of activations with these axes before their width is that of ``example_of_token``."""
        return len(leading) > 1 and leading[1] == self.num_tokens

    def uniform(self, length: int) -> Segments:
        """Segments of rows that are one example each, ``length`` tokens a row."""
        if length not in self._uniform:
            self._uniform[length] = Segments(self._rows, (length,) * len(self._rows))
        return self._uniform[length]

    def _repeated(self, count: int) -> Segments:
        """The tokens' segments where each token stands ``count`` times."""
        assert self._segments is not None
        if count not in self._by_count:
            lengths = tuple(length * count for length in self._segments.lengths)
            self._by_count[count] = Segments(self._segments.examples, lengths)
        return self._by_count[count]

    def _read(self, example_of_token: Tensor) -> None:
        flat = example_of_token.flatten()
        kept = (flat >= 0).nonzero().squeeze(1)
        # A stable sort keeps each example's tokens in their order.
        order = torch.sort(flat[kept], stable=True).indices
        found, lengths = torch.unique_consecutive(flat[kept][order], return_counts=True)
        examples, counts = found.tolist(), lengths.tolist()
        in_rows = example_of_token.cpu()
        mixed = [len(set(row[row >= 0].tolist())) for row in in_rows]
        self._is_packed = max(mixed, default=0) > 1 or self.num_rows != len(examples)
        self._rows = tuple(examples)
        is_whole = not self._is_packed and all(count == self.num_tokens for count in counts)
        if is_whole and bool((in_rows[:, 0] == torch.tensor(examples)).all()):
            return  # rows without padding, in order: nothing to gather
        if not self._is_packed and [int(row.max()) for row in in_rows] != examples:
            self._is_packed = True  # rows in another order: nothing may be read off a row's number
        self._places = kept[order]
        self._segments = Segments(tuple(examples), tuple(counts))
