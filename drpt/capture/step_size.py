"""How much goes through a model in one step, for counting work and bytes before the step is taken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """A step whose examples all have the same number of tokens."""

    num_general: int  # n
    num_target: int  # m
    row_tokens: int  # T, tokens of every example
    num_micro_batches: int = 1
    product_bytes: int = 4  # bytes of one number of activations around linear layers
    other_bytes: int = 4  # bytes of one number of activations around tables and norms: 4 under autocast too

    @property
    def num_examples(self) -> int:
        """``n + m``."""
        return self.num_general + self.num_target

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return self.num_examples * self.row_tokens
