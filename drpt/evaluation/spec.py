"""The `evaluation` config group: its keys and rules, without torch."""

from dataclasses import dataclass

from drpt.checks import check_interval


@dataclass(kw_only=True)
class EvaluationSpec:
    """What is measured on the held-out target examples, besides at the start and the end."""

    every_steps: int  # optimizer steps between two evaluations
    batch_rows: int  # examples evaluated together
    num_generate: int  # held-out examples answered by greedy generation for accuracy; 0 = no accuracy
    max_new_tokens: int  # longest answer
    pass_k: int | None  # of reinforcement learning: responses drawn for each held-out prompt besides the greedy one

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        meaning = "optimizer steps between two evaluations"
        check_interval("evaluation.every_steps", self.every_steps, low=1, meaning=meaning)
        check_interval("evaluation.batch_rows", self.batch_rows, low=1, meaning="examples evaluated together")
        check_interval("evaluation.num_generate", self.num_generate, low=0, meaning="examples answered by generation")
        check_interval("evaluation.max_new_tokens", self.max_new_tokens, low=1, meaning="tokens of the longest answer")
        if self.pass_k is not None:
            check_interval("evaluation.pass_k", self.pass_k, low=1, meaning="responses drawn for each held-out prompt")
