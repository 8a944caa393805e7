"""One use of one module under the capture's check; see `drpt.capture.checking.check`."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from drpt.capture.checking.apart import WAY_OUT, refuse_not_finite, use_vanishes
from drpt.capture.checking.formed import formed_gradient
from drpt.capture.checking.kept_state import Buffers, SavedInput, buffers_again, buffers_of
from drpt.capture.checking.keys import first_tensor
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import FactoredGradient, UseGradient, accumulating
from drpt.capture.layers.own_code import in_place_of
from drpt.capture.layers.shared_values.followed_call import share
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor, copies_of, plain
from drpt.capture.layers.site import Forward
from drpt.capture.random_state import RandomState, random_again, random_state
from drpt.capture.segments import Layout

# What two right computations of the same gradient may differ by, relative to its norm: a few hundred roundings of the dtype
# (float32: 6e-8, bfloat16: 4e-3 each, which do not average out in one product). Modules in float64 may round to float32
# inside, as transformers' norms do. Rules that are wrong were off by 0.4 to 175 %.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 1e-2}
# Where terms cancel, their sum is known relative to the terms: sums are taken in float32 or better, whatever the dtype.
_SUMMING = 2e-5


@runtime_checkable  # for the shape checker of the tests
class Running(Protocol):
    """The batch's check, as its uses see it."""

    anchor: Tensor
    is_running: bool
    is_comparing: bool
    chosen: frozenset[int]

    def ordinarily(self) -> Any:  # a context manager
        """Modules run their own forwards meanwhile."""


class CheckedUse:
    """Compares what a rule does in a module's place with what the module does.

    Args:
        module: The module.
        path: Its name.
        ordinary: Its own forward.
        trial: The check of the batch.
        layout: Where the batch's examples are in its activations.
    """

    def __init__(
        self, module: nn.Module, path: str, trained: Sequence[str], ordinary: Forward, trial: Running, layout: Layout
    ) -> None:
        self._trained = trained
        self._module = module
        self._path = path
        self._ordinary = ordinary
        self._trial = trial
        self._layout = layout
        self._inputs: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})  # without gradients; the first tensor where it is small
        self._saved: Tensor | None = None  # a scalar whose node holds the input as autograd holds tensors
        self._has_input_grad = False
        self._captured = ordinary  # until the forward pass gives the real one
        self._is_local = False
        self._output_grads: list[Tensor | None] = []
        self._hooks: list[Any] = []
        self._formed: dict[str, Tensor] = {}  # by the rule
        self._allowed: dict[str, float] = {}  # rounding errors that it may have, besides those of its own size
        self._expected: dict[str, Tensor] | None = None  # by autograd
        self._autocast = ("cpu", torch.bfloat16, False)  # as it was in the forward pass
        self._buffers: Buffers = []  # as they were before the forward pass
        self._random_state: RandomState = (torch.empty(0), None)  # before the forward pass
        self._tolerance = 0.0
        self._summing = _SUMMING
        self._gain = 0.0  # ‖output‖ / ‖input‖

    def forward(self, captured: Forward, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_again: bool) -> Any:
        """Run the captured forward, compare its result, and wait for gradients.

        Args:
            captured: Tells this use of what it records.
            args: Positional arguments that the model gave the module.
            kwargs: Keyword arguments that the model gave the module.
            is_again: Whether gradient checkpointing only rebuilds what it needs.

        Returns:
            What the captured forward returned.

        Raises:
            UnsupportedModuleError: The module's own forward returns something else.
        """
        x = first_tensor(args, kwargs)
        if x is not None and x.is_floating_point() and not isinstance(x, SharedTensor):
            self._saved = SavedInput.apply(x, self._trial.anchor)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        version = 0 if self._saved is None or x is None else x._version
        self._random_state, self._buffers = random_state(x), buffers_of(self._module)
        result = captured(*args, **kwargs)
        if self._saved is not None and x is not None and x._version != version:
            raise self._failure("changes its input in place, which the check needs as it was")
        values, structure = tree_flatten(result)
        if len(values) > 1:  # one may be made of another, and only what comes from outside the module counts
            values = [_from_outside(value) for value in values]
            result = tree_unflatten(values, structure)
        outputs = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
        watched = [copies_of(value) if isinstance(value, SharedTensor) else value for value in outputs]
        if is_again:
            return result
        device = "cpu" if x is None else x.device.type
        self._autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        self._inputs = tree_map(lambda value: self._without_graph(value, x), (args, kwargs))
        self._captured, self._has_input_grad = captured, x is not None and x.requires_grad
        self._compare_outputs(outputs, x, *tree_map(plain, (args, kwargs)))
        self._output_grads = [None] * len(outputs)
        for place, value in enumerate(watched):
            if value.requires_grad:
                self._hooks.append(value.register_hook(self._receiver(place, outputs[place])))
        return result

    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """Add what the rule forms of the subset's gradient.

        Args:
            uses: Names within the module, and what the backward pass reached.
        """
        for name, use in uses if not self._is_local else ():
            use_vanishes(self._path, name, use, self._trial.chosen)
        if not self._trial.is_comparing or self._is_local:
            return
        if all(grad is not None for grad in self._output_grads):
            self._refer()  # at once: of a sharded model, parameters are whole now
        for name, use in uses:
            formed, rounded, summed = formed_gradient(use)
            if isinstance(use, FactoredGradient) and use.place is not None:
                whole = formed.new_zeros(use.num_places, *formed.shape)
                whole[use.place] = formed
                formed = whole
            self._formed[name] = self._formed[name] + formed if name in self._formed else formed
            self._allow(name, self._tolerance * rounded + self._summing * summed)

    @property
    def is_local(self) -> bool:
        """Whether the captured forward runs by itself, for comparison: its uses are none of the batch."""
        return self._is_local

    def _refer(self) -> None:
        """Have autograd do what the backward pass has done in the module."""
        if self._expected is not None:
            return
        x = self._input()
        with self._own_parameters() as parameters, self._trial.ordinarily():
            wanted = ([] if x is None else [x]) + list(parameters.values())
            found = self._gradients(self._ordinary, x, wanted)
        flowing = sum(float(accumulating(grad).norm()) for grad in self._output_grads if grad is not None)
        if x is not None:
            self._compare_input_gradient(x, found[0], flowing)
            found = found[1:]
        self._expected = {
            name: torch.zeros_like(parameter) if grad is None else grad
            for (name, parameter), grad in zip(parameters.items(), found, strict=True)
        }
        for name in parameters:
            self._allow(name, self._summing * flowing)

    def _input(self) -> Tensor | None:
        """The module's input as it was, with a graph of its own; None where it is remembered with the other arguments."""
        if self._saved is None:
            return None
        assert self._saved.grad_fn is not None
        try:
            (x,) = self._saved.grad_fn.saved_tensors  # type: ignore[attr-defined]  # a custom function's
        except RuntimeError as error:
            raise self._failure("has an input that is changed in place afterwards, which the check needs as it was") from error
        given: Tensor = x.detach().requires_grad_(self._has_input_grad)
        return given

    def _gradients(self, forward: Forward, x: Tensor | None, wanted: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Gradients by one of the two forwards alone, from those that reached the module's outputs."""
        args, kwargs = tree_map(lambda value: x if value is _INPUT else value, self._inputs)
        device, dtype, is_enabled = self._autocast
        with (
            torch.enable_grad(),
            torch.autocast(device, dtype=dtype, enabled=is_enabled),
            random_again(self._random_state),
            buffers_again(self._module, self._buffers),
            warnings.catch_warnings(action="ignore"),  # the model has given them already
        ):
            result = tree_flatten(forward(*args, **kwargs))[0]
        outputs = [value for value in result if isinstance(value, Tensor) and value.is_floating_point()]
        pairs = [
            (output, grad.reshape(output.shape).to(output.dtype))
            for output, grad in zip(outputs, self._output_grads, strict=True)
            if grad is not None and output.requires_grad and not isinstance(output, SharedTensor)
        ]
        places = [place for place, value in enumerate(wanted) if value.requires_grad]
        if not pairs or not places:
            return [None] * len(wanted)
        heads, grads = zip(*pairs, strict=True)
        found = torch.autograd.grad(heads, [wanted[place] for place in places], grads, allow_unused=True)
        by_place = dict(zip(places, found, strict=True))
        return [by_place.get(place) for place in range(len(wanted))]

    def _compare_input_gradient(self, x: Tensor, expected: Tensor | None, flowing: float) -> None:
        # A linear layer's is o W, whatever reaches it: there is nothing to find out.
        if not self._has_input_grad or type(self._module).forward is nn.Linear.forward:
            return
        again = x.detach().requires_grad_(True)
        self._is_local = True
        try:
            with self._trial.ordinarily():  # modules within this one
                (found,) = self._gradients(self._captured, again, [again])
        finally:
            self._is_local = False
        nothing = torch.zeros_like(x)
        found, expected = (nothing if grad is None else grad for grad in (found, expected))
        self._require("passes on to its input", found, expected, self._tolerance * flowing * self._gain)

    @contextmanager
    def _own_parameters(self) -> Iterator[dict[str, nn.Parameter]]:
        """Trained parameters that stand for the module's own, so that nothing which watches those is told."""
        found = {name: nn.Parameter(self._module.get_parameter(name).detach()) for name in self._trained}
        with in_place_of(self._module, found):
            yield found

    def finish(self) -> None:
        """Compare what is left once the backward pass is over."""
        if any(grad is not None for grad in self._output_grads):
            self._refer()
        for name in {*self._formed, *(self._expected or {})}:
            self._compare_gradient(name)

    def close(self) -> None:
        """Let go of everything; the graph's own backward pass follows."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._formed.clear()
        self._expected = None
        self._output_grads = []
        self._inputs, self._saved = ((), {}), None

    def _without_graph(self, value: Any, x: Tensor | None) -> Any:
        if isinstance(value, Tensor):
            return _INPUT if value is x and self._saved is not None else plain(value).detach()
        return value

    def _compare_outputs(
        self, outputs: Sequence[Tensor], x: Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        with (
            torch.no_grad(),
            self._trial.ordinarily(),
            random_again(self._random_state),
            buffers_again(self._module, self._buffers),
            warnings.catch_warnings(action="ignore"),  # the model has given them already
        ):
            ordinary = self._ordinary(*args, **kwargs)
        expected = [
            value.detach() for value in tree_flatten(ordinary)[0] if isinstance(value, Tensor) and value.is_floating_point()
        ]
        dtypes = [
            value.dtype
            for value in (
                *outputs,
                *(self._module.get_parameter(name) for name in self._trained),
                *([x] if x is not None else []),
            )
        ]
        if outputs and torch.is_autocast_enabled(outputs[0].device.type):
            dtypes.append(torch.get_autocast_dtype(outputs[0].device.type))
        self._tolerance = max(_TOLERANCE.get(dtype, 0.0) for dtype in dtypes)
        self._summing = min(self._tolerance, _SUMMING)
        if len(outputs) != len(expected):
            raise self._failure(f"returns {len(expected)} tensors by its own forward, and {len(outputs)} under the capture")
        for found, own in zip(outputs, expected, strict=True):
            if found.shape != own.shape or found.dtype != own.dtype:
                raise self._failure(
                    f"returns {tuple(own.shape)}, {own.dtype} by its own forward, and {tuple(found.shape)}, {found.dtype} "
                    "under the capture"
                )
            size = float(accumulating(own).norm())
            error = float((accumulating(plain(found).detach()) - accumulating(own)).norm())
            if error > self._tolerance * size:
                raise self._failure(
                    f"returns something else under the capture: {_percent(error, size)} away from its own forward. "
                    f"Numbers drawn by others than torch do so, and sizes equal to the batch's {self._layout.num_rows} rows"
                )
            if x is not None and x.is_floating_point():
                self._gain += size / max(float(accumulating(plain(x).detach()).norm()), 1e-30)

    def _receiver(self, place: int, output: Tensor) -> Callable[[Tensor], None]:
        is_shared, shape = isinstance(output, SharedTensor), output.shape

        def receive(grad: Tensor) -> None:
            if not self._trial.is_comparing:
                return
            grad = grad.detach()
            self._output_grads[place] = grad.sum(dim=0).reshape(shape) if is_shared else grad

        return receive

    def _compare_gradient(self, name: str) -> None:
        if self._expected is None:  # nothing reached its outputs
            return
        expected = self._expected.pop(name, None)
        formed = self._formed.pop(name, None)
        if expected is None:
            return
        formed = torch.zeros_like(expected) if formed is None else formed.view_as(expected)
        self._require(f"gets for {name}", formed, expected, self._allowed.get(name, 0.0))

    def _allow(self, name: str, error: float) -> None:
        self._allowed[name] = self._allowed.get(name, 0.0) + error

    def _require(self, what: str, found: Tensor, expected: Tensor, allowed: float) -> None:
        size = float(accumulating(expected).norm())
        error = float((accumulating(found) - accumulating(expected)).norm())
        if error <= self._tolerance * size + allowed:
            return
        if not bool(torch.isfinite(expected).all()):
            refuse_not_finite(self._path)
        raise self._failure(f"{what} a gradient that is {_percent(error, size)} away from autograd's")

    def _failure(self, what: str) -> UnsupportedModuleError:
        name = f"{self._path or 'the model'} ({type(self._module).__name__})"
        return UnsupportedModuleError(f"the capture's check failed: {name} {what}. {WAY_OUT}")


_INPUT = object()  # stands for the module's input among its arguments


def _from_outside(value: Any) -> Any:
    """The same value, whose gradient is that of its uses after the module alone."""
    if isinstance(value, SharedTensor):
        copies = copies_of(value)
        return share(plain(value), lambda: copies.view_as(copies), value._site)
    return value.view_as(value) if isinstance(value, Tensor) and value.requires_grad else value


def _percent(error: float, size: float) -> str:
    return f"{100 * error / size:.3g} %" if size > 0 else f"{error:.3g}, of nothing,"
