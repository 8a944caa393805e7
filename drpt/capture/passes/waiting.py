"""Blocks that are measured wait for each other, so that one call solves for several; what they keep alive is bounded."""

_MOST_BLOCKS = 96  # a small quadratic program costs mostly the calls
WAITING_BYTES = 384 * 2**20


class WaitingBlocks:
    """Those whose coefficients are to be chosen next.

    Processes that choose together must take the same turns, so with several of them the number of blocks alone decides, which
    is alike in all.

    Args:
        num_processes: That choose together.
    """

    def __init__(self, num_processes: int) -> None:
        self._num_processes = num_processes
        self._most_blocks = _MOST_BLOCKS
        self._blocks: list[int] = []
        self._num_bytes = 0

    def expect(self, bytes_a_block: float) -> None:
        """Say what an average block keeps alive; needed with several processes, and alike in all of them."""
        if self._num_processes > 1:
            self._most_blocks = max(1, min(_MOST_BLOCKS, int(WAITING_BYTES / max(bytes_a_block, 1.0))))

    def add(self, block: int, num_bytes: int) -> None:
        """A block is measured, and keeps so much alive."""
        self._blocks.append(block)
        self._num_bytes += num_bytes

    @property
    def is_full(self) -> bool:
        """Whether they should wait no longer."""
        is_heavy = self._num_processes == 1 and self._num_bytes > WAITING_BYTES
        return is_heavy or len(self._blocks) >= self._most_blocks

    def take(self) -> list[int]:
        """All of them; none is left."""
        taken, self._blocks, self._num_bytes = self._blocks, [], 0
        return taken
