"""Whether each example of a step is in one micro-batch of one process; else its gradient would count twice, or not at all."""

from collections import Counter
from collections.abc import Sequence

import torch

from drpt.capture.collectives import Collectives
from drpt.capture.rows import StepRows
from drpt.capture.segments import Layout

_SHOWN = 8


class ExampleCoverage:
    """Counts the examples of a step over its micro-batches and processes.

    Args:
        rows: General and target examples of the step.
        layouts: Layouts of this process's micro-batches.
        collectives: Sums over the processes that choose together.

    Raises:
        ValueError: The micro-batches name a place that the step does not have, or one of them twice; or, in a single process,
            not all of them.
    """

    def __init__(self, rows: StepRows, layouts: Sequence[Layout], collectives: Collectives) -> None:
        self._rows = rows
        self._collectives = collectives
        self._counts = Counter(example for layout in layouts for example in layout.examples)
        beyond = sorted(example for example in self._counts if not 0 <= example < rows.num_examples)
        if beyond:
            raise ValueError(
                f"the step has no examples {_listed(beyond)}: a micro-batch names them, and {self._all()} are numbered from 0."
            )
        if collectives.num_processes == 1:
            self._refuse([self._counts[example] for example in range(rows.num_examples)])
        else:
            self._refuse(repeated=[example for example, count in self._counts.items() if count > 1])

    def require_everyone(self, device: torch.device) -> None:
        """Refuse a step in which an example is missing or comes more than once in all processes that choose together.

        Args:
            device: Device on which processes add numbers up.

        Raises:
            ValueError: Names the examples.
        """
        if self._collectives.num_processes > 1:
            counts = torch.tensor([self._counts[example] for example in range(self._rows.num_examples)], device=device)
            self._refuse(self._collectives.add_up(counts).tolist())

    def _refuse(self, counts: Sequence[int] = (), *, repeated: Sequence[int] = ()) -> None:
        missing = [example for example, count in enumerate(counts) if count == 0]
        repeated = [*repeated, *(example for example, count in enumerate(counts) if count > 1)]
        faults = [
            f"{_listed(sorted(examples))} {fault}"
            for examples, fault in ((missing, "are in none"), (repeated, "are in more than one"))
            if examples
        ]
        if faults:
            where = "micro-batch" if self._collectives.num_processes == 1 else "micro-batch of one process"
            raise ValueError(
                f"of {self._all()}, examples {' and '.join(faults)}: each belongs to one {where}. Say which examples are where "
                "when the step is opened: capture.step(…, examples=…) or example_of_token=… where there is one micro-batch, "
                "micro_batches=… where there are several. What is in .grad is no update."
            )

    def _all(self) -> str:
        return f"the step's {self._rows.num_general} general and {self._rows.num_target} target examples"


def _listed(examples: Sequence[int]) -> str:
    shown = ", ".join(str(example) for example in examples[:_SHOWN])
    return shown + (f" and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else "")
