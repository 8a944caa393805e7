"""The `evaluation` config group: its keys and rules, without torch."""

from dataclasses import dataclass

from drpt.checks import check_interval


@dataclass(kw_only=True)
class EvaluationSpec:
    """How the held-out target examples are evaluated: at the start, at the end, and at regular intervals between."""

    every_steps: int  # optimizer steps between two evaluations, at least 1
    batch_rows: int  # examples in one evaluation batch, at least 1
    num_generate: int  # held-out examples answered by greedy generation to measure accuracy; 0 = no accuracy
    max_new_tokens: int  # largest number of tokens in a generated answer, at least 1
    pass_k: int | None  # responses sampled per held-out prompt for pass@k, at least 1; reinforcement learning only; null = none

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        meaning = "optimizer steps between two evaluations"
        check_interval("evaluation.every_steps", self.every_steps, low=1, meaning=meaning)
        check_interval("evaluation.batch_rows", self.batch_rows, low=1, meaning="examples in one evaluation batch")
        check_interval("evaluation.num_generate", self.num_generate, low=0, meaning="examples answered by generation")
        check_interval("evaluation.max_new_tokens", self.max_new_tokens, low=1, meaning="tokens of the longest answer")
        if self.pass_k is not None:
            check_interval("evaluation.pass_k", self.pass_k, low=1, meaning="responses sampled per held-out prompt")
