"""Where in a model the capture sits: every module that owns trained parameters, with the rule for its forward."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from drpt.capture.checking.check import Trial
from drpt.capture.checking.checked_use import CheckedUse
from drpt.capture.errors import FREEZE, UnsupportedModuleError
from drpt.capture.gradients import UseGradient
from drpt.capture.layers.layer_rule import LayerRule
from drpt.capture.layers.rules import LayerRules, rule_of_site
from drpt.capture.layers.site import Forward
from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens

_CONTAINERS = (nn.ParameterDict, nn.ParameterList)
_BEFORE = "_forward_before_capture"  # where a module keeps its own forward during a step


@runtime_checkable  # for the shape checker of the tests
class Recorder(Protocol):
    """Whoever is told of uses of parameters: when one enters the graph, and when the backward pass reaches it."""

    layout: Layout  # of the batch that is in the model
    recent: RecentTokens  # knows activations that several modules share
    anchor: Tensor  # requires gradients; keeps nodes in the graph whose inputs do not
    trial: Trial | None  # the check of this batch; None where nothing is checked

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """A use of these parameters has been put into the graph; so much would it keep alive."""

    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """The backward pass has reached these uses."""


@dataclass(frozen=True, slots=True)
class ModuleSite:
    """A module whose forward is replaced while a capture is open."""

    path: str
    module: nn.Module
    rule: LayerRule
    own: Mapping[str, str]  # name within the module -> first qualified name of the parameter


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require gradients now, by qualified name; a tied one once, under its first."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def find_sites(model: nn.Module, rules: LayerRules) -> list[ModuleSite]:
    """All modules that own trained parameters.

    Args:
        model: Any module.
        rules: Rules by type of module.

    Returns:
        Sites in the model's order.

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule, to one that is compiled, or to one
            whose forward is its own.
        RuntimeError: A step of the model is open.
    """
    first_name = {id(parameter): name for name, parameter in trained_parameters(model).items()}
    modules = dict(model.named_modules())
    owned: dict[str, dict[str, str]] = {}
    for path, module in modules.items():
        own = {name: first_name[id(p)] for name, p in module.named_parameters(recurse=False) if id(p) in first_name}
        user = path
        while own and user and isinstance(modules[user], _CONTAINERS):  # whose parameters are used by the module around them
            user, _, name = user.rpartition(".")
            own = {f"{name}.{inner}": first for inner, first in own.items()}
        if own:
            owned.setdefault(user, {}).update(own)
    sites: list[ModuleSite] = []
    uncovered: list[str] = []
    for path in (path for path in modules if path in owned):
        module, own = modules[path], owned[path]
        rule = rule_of_site(rules, module, list(own))
        if rule is None:
            uncovered += [f"{path}.{name} ({type(module).__name__})".lstrip(".") for name in own]
        else:
            sites.append(ModuleSite(path, module, rule, own))
            _refuse_own_forward(sites[-1])
    if uncovered:
        shown = ", ".join(uncovered[:8]) + (f" and {len(uncovered) - 8} more" if len(uncovered) > 8 else "")
        raise UnsupportedModuleError(
            f"no rule gives per-example products for {shown}: {FREEZE} Or give the type of the module a rule "
            "(GradientCapture(…, layer_rules=…)), or replace the module by one that uses its parameters through "
            "torch's functions."
        )
    refuse_compiled(model, [site.path for site in sites])
    return sites


def refuse_compiled(model: nn.Module, trained: Sequence[str]) -> None:
    """Refuse compiled modules with trained ones in them; looked at every step, since a model may be compiled at any time.

    Args:
        model: Any module.
        trained: Paths of the modules that own trained parameters.

    Raises:
        UnsupportedModuleError: There is one.
    """
    for outer in [path for path, module in model.named_modules() if _is_compiled(module)]:
        for path in trained:
            if path == outer or path.startswith(f"{outer}." if outer else ""):
                raise UnsupportedModuleError(
                    f"{outer or 'the model'} is compiled (torch.compile), and {path} in it is trained: compiled code does not "
                    "pass through the forwards that the capture puts in their place. Give the model as it was before "
                    "compiling; parts without trained parameters may stay compiled."
                )


@contextmanager
def captured_forwards(
    sites: Sequence[ModuleSite], parameters: Mapping[str, nn.Parameter], recorder: Recorder
) -> Iterator[None]:
    """Run the sites' forwards by their rules, telling ``recorder``; everything is put back in the end.

    Args:
        sites: See `find_sites`.
        parameters: See `trained_parameters`.
        recorder: Is told of every use.

    Yields:
        Nothing.

    Raises:
        UnsupportedModuleError: A module has been given a forward of its own, or a parameter has a hook.
        RuntimeError: Another step of the model is open.
    """
    hooks = []
    replaced = []
    try:
        for site in sites:
            _refuse_own_forward(site)
            forward = _captured(site, recorder)
            # Where a compiled copy of the model is called, its code passes through here as it is, and nothing is traced.
            _replace_forward(site.module, torch.compiler.disable(forward) if "torch._dynamo" in sys.modules else forward)
            replaced.append(site.module)
        if sites:
            _refuse_hooks(parameters)
            hooks = [parameter.register_hook(_refuse_stray_gradient(name)) for name, parameter in parameters.items()]
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in replaced:
            _restore_forward(module)


def _captured(site: ModuleSite, recorder: Recorder) -> Forward:
    """What runs in the place of a module's forward."""
    module, ordinary = site.module, site.module.forward
    captured = site.rule.captured_forward(module, ordinary, _RecordedSite(site, recorder))
    parameters = list(inspect.signature(type(module).forward).parameters)
    name_of_input = parameters[1] if len(parameters) > 1 else ""

    def checked(use: CheckedUse) -> Forward:
        return site.rule.captured_forward(module, ordinary, _RecordedSite(site, recorder, use))

    def forward(*args: Any, **kwargs: Any) -> Any:  # Any: the module's own arguments and results
        if not args and name_of_input in kwargs:
            args = (kwargs.pop(name_of_input),)
        trial = recorder.trial
        if trial is None:
            return captured(*args, **kwargs)
        return trial.run(site, ordinary, captured, checked, recorder.layout)(*args, **kwargs)

    return forward


class _RecordedSite:
    """One module's place in one step; see `drpt.capture.layers.site.Site`."""

    def __init__(self, site: ModuleSite, recorder: Recorder, use: CheckedUse | None = None) -> None:
        self.name = site.path
        self.trained = frozenset(site.own)
        self.anchor = recorder.anchor
        self.recent = recorder.recent
        self._own = site.own
        self._recorder = recorder
        self._use = use  # that is being checked

    @property
    def layout(self) -> Layout:
        return self._recorder.layout

    def announce(self, parameters: Sequence[str], num_bytes: int) -> None:
        self._recorder.announce([self._own[name] for name in parameters], num_bytes)

    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        if self._use is not None and self._use.is_local:
            return
        trial = self._recorder.trial
        if trial is None or not trial.is_running:
            self._recorder.record([(self._own[name], use) for name, use in uses])
        elif self._use is not None:
            self._use.record(uses)
        else:
            trial.vanish(self.name, uses)


def _refuse_own_forward(site: ModuleSite) -> None:
    own = vars(site.module)
    if _BEFORE in own:
        raise RuntimeError(f"{site.path or 'the model'} is in a step of the capture already: close that one first.")
    if "forward" in own and not site.rule.runs_own_forward:
        raise UnsupportedModuleError(
            f"{site.path or 'the model'} ({type(site.module).__name__}) has a forward set on the object rather than by its "
            "class, as wrappers that quantise, move or log activations do: the capture would run without it. Remove the "
            "wrapper (accelerate's: accelerate.hooks.remove_hook_from_module(model, recurse=True)), or freeze the parameters."
        )


def _is_compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None


def _refuse_hooks(parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        hooks = [parameter._backward_hooks, parameter._post_accumulate_grad_hooks]
        if any(hooks) and not isinstance(parameter, DTensor):  # whose hooks are those of sharding
            raise UnsupportedModuleError(
                f"{name} has a hook on its gradient, which the capture would not call: it forms updates without that gradient. "
                "Remove the hook, and change .grad after step.backward instead."
            )


def _refuse_stray_gradient(name: str) -> Callable[[Tensor | None], None]:
    def refuse(gradient: Tensor | None) -> None:
        if gradient is not None:
            raise UnsupportedModuleError(
                f"{name} is used outside the forward of the module that owns it, where no rule sees it; its update would be "
                f"wrong. (State-space models use their convolutions so.) {FREEZE}"
            )

    return refuse


def _replace_forward(module: nn.Module, forward: Callable[..., Tensor]) -> None:
    module.__dict__[_BEFORE] = module.__dict__.get("forward")
    module.__dict__["forward"] = forward


def _restore_forward(module: nn.Module) -> None:
    before = module.__dict__.pop(_BEFORE)
    if before is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = before
