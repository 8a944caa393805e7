"""Which examples of a step have come: each in one batch of one process, or its gradient would count twice or not at all."""

from collections import Counter
from collections.abc import Sequence

import torch

from drpt.capture.collectives import Collectives
from drpt.capture.rows import StepRows

_SHOWN = 8


class ExampleCoverage:
    """Counts examples over the batches of a step.

    Args:
        rows: Examples of the step.
        collectives: The processes that hold them together.
    """

    def __init__(self, rows: StepRows, collectives: Collectives) -> None:
        self._rows = rows
        self._collectives = collectives
        self._counts: Counter[int] = Counter()

    def add(self, examples: Sequence[int]) -> None:
        """Those of one batch, before its backward pass.

        Args:
            examples: Their places in the step.

        Raises:
            ValueError: The step has no such place, or an earlier batch of this process held one of them.
        """
        beyond = [example for example in examples if not 0 <= example < self._rows.num_examples]
        if beyond:
            raise ValueError(f"examples {_listed(beyond)} are none of {self._all()}, which are numbered from 0.")
        self._counts.update(examples)
        self._refuse(repeated=[example for example, count in self._counts.items() if count > 1])

    def require_everyone(self, device: torch.device) -> None:
        """Refuse a step in which an example is missing or came more than once; processes that choose together do alike.

        Args:
            device: Where processes add numbers up.

        Raises:
            ValueError: Names the examples.
        """
        counts = [self._counts[example] for example in range(self._rows.num_examples)]
        if self._collectives.num_processes > 1:
            counts = self._collectives.add_up(torch.tensor(counts, device=device)).tolist()
        self._refuse(
            missing=[example for example, count in enumerate(counts) if count == 0],
            repeated=[example for example, count in enumerate(counts) if count > 1],
        )

    def _refuse(self, *, repeated: Sequence[int], missing: Sequence[int] = ()) -> None:
        faults = [
            f"{_listed(examples)} {fault}"
            for examples, fault in ((missing, "came in no batch"), (repeated, "more than once"))
            if examples
        ]
        if faults:
            where = "batch" if self._collectives.num_processes == 1 else "batch of one process"
            raise ValueError(
                f"of {self._all()}, examples {' and '.join(faults)}: each belongs to one {where}. Say which are in it with "
                "examples=… or example_of_token=…, of capture.step where there is one batch, of step.part where there are "
                "several. What is in .grad is no update."
            )

    def _all(self) -> str:
        return f"the step's {self._rows.num_general} general and {self._rows.num_target} target examples"


def _listed(examples: Sequence[int]) -> str:
    shown = ", ".join(str(example) for example in examples[:_SHOWN])
    return shown + (f" and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else "")
