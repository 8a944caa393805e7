"""Which examples of a step have come: each in one batch of one process, or its gradient would count twice or not at all."""

from collections import Counter
from collections.abc import Sequence

import torch

from drpt.capture.exchange import Exchange
from drpt.capture.rows import StepRows

_SHOWN = 8


class Attendance:
    """Counts examples over the batches of a step.

    Args:
        rows: Examples of the step.
        exchange: The processes that hold them together.
    """

    def __init__(self, rows: StepRows, exchange: Exchange) -> None:
        self._rows = rows
        self._exchange = exchange
        self._counts: Counter[int] = Counter()

    def add(self, examples: Sequence[int]) -> None:
        """Those of one batch.

        Args:
            examples: Their places in the step.

        Raises:
            ValueError: The step has no such place.
        """
        beyond = [example for example in examples if not 0 <= example < self._rows.num_examples]
        if beyond:
            raise ValueError(f"examples {_listed(beyond)} are none of {self._all()}, which are numbered from 0.")
        self._counts.update(examples)

    def require_everyone(self, device: torch.device) -> None:
        """Refuse a step in which an example is missing or came more than once; all processes refuse alike.

        Args:
            device: Where processes add numbers up.

        Raises:
            ValueError: Names the examples.
        """
        counts = torch.tensor([self._counts[example] for example in range(self._rows.num_examples)], device=device)
        counts = self._exchange.add_up(counts)
        missing, repeated = ((counts == 0).nonzero().flatten().tolist(), (counts > 1).nonzero().flatten().tolist())
        if not (missing or repeated):
            return
        faults = [f"{_listed(missing)} came in no batch"] * bool(missing) + [f"{_listed(repeated)} more than once"] * bool(
            repeated
        )
        where = "batch" if self._exchange.num_processes == 1 else "batch of one process"
        raise ValueError(
            f"of {self._all()}, examples {' and '.join(faults)}: each belongs to one {where}. Say which are in it with "
            "examples=… or example_of_token=…, of capture.step where there is one batch, of step.part where there are several."
        )

    def _all(self) -> str:
        return f"the step's {self._rows.num_general} general and {self._rows.num_target} target examples"


def _listed(examples: Sequence[int]) -> str:
    shown = ", ".join(str(example) for example in examples[:_SHOWN])
    return shown + (f" and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else "")
