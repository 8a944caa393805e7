"""The proof that a model is what the capture takes it for, given when the two first meet.

The capture forms each example's gradient from what passes through single modules. That is right if (a) what a rule computes in
a module's place is what the module computes, and (b) what is attributed to an example in a module is that example's. (a) fails
where a rule does not fit a module; (b) where rows are sorted, merged or compared inside the model, where another axis is as
long as the batch, or where an example's loss looks at other examples. So, from one forward pass of the first step:

- each captured module's output is compared with that of its ordinary forward;
- the losses of random proper subsets of the examples are backpropagated. With the first of them, what the rules form of each
  parameter's gradient is compared with autograd's, module by module, as is what flows on to a module's input;
- what is attributed to the other examples must vanish, everywhere and exactly; the subsets tell any two examples apart.

The proof is repeated when the structure changes (other modules, another number of axes or rows, an axis as long as the batch
for the first time), and in the steps 10, 100, 1000, …, with one other subset. The first time costs two ordinary forward
passes, one backward pass through each module by itself, and a backward pass to activations for each subset.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.capture.checking.apart import use_vanishes
from drpt.capture.checking.checked_use import CheckedUse, Key, first_tensor, key_of
from drpt.capture.collectives import Collectives
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import UseGradient
from drpt.capture.layers.site import Forward
from drpt.capture.segments import Layout

_log = logging.getLogger(__name__)

# After so many sets of modules, each module checked by itself, another set of the same ones says nothing new: with layers left
# out at random every step has another one, and would be checked for ever.
_MOST_SETS = 8


@runtime_checkable  # for the shape checker of the tests
class CapturedModule(Protocol):
    """A module whose forward the capture replaces; see `drpt.capture.sites.ModuleSite`."""

    @property
    def path(self) -> str:
        """Its name."""

    @property
    def module(self) -> nn.Module:
        """The module."""

    @property
    def own(self) -> Mapping[str, str]:
        """Names within it of its trained parameters."""


Run: TypeAlias = Callable[[CheckedUse], Forward]  # makes the captured forward that tells a use of what it records


class Check:
    """What has been proved of a model so far.

    Args:
        is_wanted: False for a check that finds nothing to do.
    """

    def __init__(self, *, is_wanted: bool = True) -> None:
        self._is_wanted = is_wanted
        self._keys: set[Key] = set()
        self._structures: set[frozenset[Key]] = set()
        self._num_steps = 0
        self._num_proofs = 0

    def next_step(self) -> None:
        """A step begins."""
        self._num_steps += 1

    def trial(self, anchor: Tensor) -> "Trial | None":
        """For the next batch, with the tensor that keeps modules in its graph; None where nothing is to be proved at all."""
        return Trial(self, anchor) if self._is_wanted else None

    @property
    def is_repeated(self) -> bool:
        """Whether this step proves again what has been proved: the steps 10, 100, 1000, …."""
        digits = str(self._num_steps)
        return self._num_steps > 1 and digits.strip("0") == "1"

    def is_proved(self, key: Key) -> bool:
        """Whether a module has been checked with inputs of this kind."""
        return key in self._keys

    def has_seen(self, structure: frozenset[Key]) -> bool:
        """Whether examples have been shown to stay apart in a batch that used these modules.

        Args:
            structure: Modules and their inputs.

        Returns:
            True, too, after `_MOST_SETS` sets of modules, if these have been checked one by one: where layers are left out at
            random, every batch uses others.
        """
        return structure in self._structures or (len(self._structures) >= _MOST_SETS and structure <= self._keys)

    def subsets(self, count: int) -> list[list[int]]:
        """Random proper subsets of the places of so many examples.

        Args:
            count: Examples.

        Returns:
            In the first proof ``⌈log₂ count⌉`` subsets that tell all examples apart: each has a number, and a subset is those
            whose number has one certain digit. Later one of them.
        """
        if count < 2:
            return [list(range(count))]
        order = random.Random(self._num_proofs).sample(range(count), count)
        found = [[place for place in range(count) if order[place] >> digit & 1] for digit in range((count - 1).bit_length())]
        return found if self._num_proofs == 0 else found[:1]

    def passed(self, structure: frozenset[Key], num_modules: int, seconds: float) -> None:
        """Remember what has been proved, and say so."""
        self._keys |= structure
        self._structures.add(structure)
        self._num_proofs += 1
        _log.info(
            "the capture's check passed in step %d: in %d modules the rules form autograd's gradients, and examples stay apart "
            "(%.2f s)",
            self._num_steps,
            num_modules,
            seconds,
        )


class Trial:
    """The check of one batch: collects uses during its forward pass, and proves what is new about them.

    Args:
        check: What has been proved before.
        anchor: The tensor that keeps the captured modules in the batch's graph.
    """

    def __init__(self, check: Check, anchor: Tensor) -> None:
        self.anchor = anchor
        self._check = check
        self._used: set[Key] = set()
        self._is_new: dict[Key, bool] = {}  # stays as decided: gradient checkpointing must find the same graph again
        self._uses: list[CheckedUse] = []
        self._is_ordinary = False
        self._seconds = 0.0
        self.is_running = False  # the backward pass of a subset: nothing that it reaches is the step's
        self.is_comparing = False  # that of the first subset, with what modules do by themselves
        self.chosen: frozenset[int] = frozenset()  # examples of the subset

    def run(self, site: CapturedModule, ordinary: Forward, captured: Forward, make: Run, layout: Layout) -> Forward:
        """The forward of one captured module within this batch.

        Args:
            site: The module.
            ordinary: Its own forward.
            captured: What runs in its place.
            make: Makes the same for a use that is checked.
            layout: Where the batch's examples are in its activations.

        Returns:
            The forward.
        """

        def forward(*args: Any, **kwargs: Any) -> Any:  # Any: the module's own arguments and results
            if self._is_ordinary:  # within the reference of a module around this one
                return ordinary(*args, **kwargs)
            if not torch.is_grad_enabled():
                return captured(*args, **kwargs)
            key = key_of(site.path, site.module, first_tensor(args, kwargs), layout)
            is_again = self.is_running or torch._C._current_graph_task_id() != -1  # gradient checkpointing rebuilds activations
            if not is_again:
                self._used.add(key)
                self._is_new.setdefault(key, self._check.is_repeated or not self._check.is_proved(key))
            if not self._is_new.get(key, False):
                return captured(*args, **kwargs)
            start = time.perf_counter()
            use = CheckedUse(site.module, site.path, list(site.own), ordinary, self, layout)
            result = use.forward(make(use), args, kwargs, is_again=is_again)
            if not is_again:
                self._uses.append(use)
            self._seconds += time.perf_counter() - start
            return result

        return forward

    @contextmanager
    def ordinarily(self) -> Iterator[None]:
        """Modules run their own forwards meanwhile."""
        before, self._is_ordinary = self._is_ordinary, True
        try:
            yield
        finally:
            self._is_ordinary = before

    def prove(self, losses: Float[Tensor, " example"], layout: Layout, together: Collectives | None = None) -> None:
        """Prove what is new about the batch, before its own backward pass.

        Args:
            losses: Losses of the batch's examples [example], in nats, in ascending order of the examples; their graph is kept.
            layout: Where the batch's examples are in its activations.
            together: Processes whose backward passes wait for each other, as those of a sharded model do.

        Raises:
            UnsupportedModuleError: The update would be wrong; names the module, what was found, and the way out.
            NonFiniteGradientError: A gradient is not finite.
            RuntimeError: As the model's own backward pass raises it.
        """
        structure = frozenset(self._used)
        is_due = bool(structure) and (bool(self._uses) or not self._check.has_seen(structure))
        # Losses that are not finite are the caller's to refuse; the next batch is checked.
        counts = torch.tensor([int(is_due), int(not bool(torch.isfinite(losses).all()))], device=losses.device)
        num_due, num_broken = (counts if together is None else together.add_up(counts)).tolist()
        if not num_due or num_broken or (together is None and len(losses) == 0):
            self._close()
            return
        start = time.perf_counter()
        subsets = self._subsets(len(losses), together)
        self.is_running = True
        try:
            for number, places in enumerate(subsets):
                self.chosen = frozenset(layout.examples[place] for place in places)
                self.is_comparing = number == 0
                torch.autograd.grad(losses[places].sum(), [self.anchor], retain_graph=True, allow_unused=True)
                if self.is_comparing:
                    for use in self._uses:
                        use.finish()
        except RuntimeError as error:
            if "use_reentrant=True" in str(error):
                raise UnsupportedModuleError(
                    "the model has a second graph inside the first: reentrant gradient checkpointing is not covered "
                    "(use_reentrant=False is)."
                ) from error
            raise
        finally:
            self.is_running = self.is_comparing = False
            num_modules = len({path for path, *_ in structure})
            self._close()
        self._seconds += time.perf_counter() - start
        self._check.passed(structure, num_modules, self._seconds)

    def _subsets(self, count: int, together: Collectives | None) -> list[list[int]]:
        """As many in all processes whose backward passes wait for each other."""
        found = self._check.subsets(count)
        if together is None:
            return found
        # The sum is at least the largest number, and the same everywhere; more passes than needed do no harm.
        most = int(together.add_up(self.anchor.detach().new_tensor([float(len(found))])))
        return [*found, *(found[:1] * (most - len(found)))]

    def vanish(self, path: str, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """Require that nothing of the other examples reaches a module; called while the subset's backward pass runs.

        Args:
            path: The module's name.
            uses: What the pass has reached there.

        Raises:
            UnsupportedModuleError: Something does.
        """
        for name, use in uses:
            use_vanishes(path, name, use, self.chosen)

    def _close(self) -> None:
        for use in self._uses:
            use.close()
        self._uses.clear()
