"""What the capture must know of one kind of layer, in one object: how it runs, and what form its gradients have.

A layer of your own needs a rule only where its code cannot be followed (see `drpt.capture.layers.own_code`) or where you know a
quicker way. Derive from `LayerRule` and hand it to the capture, which refuses a type that has a rule already:

    rules = DEFAULT_RULES.extended({MyLayer: MyLayerRule()})
    capture = drpt.GradientCapture(model, regularizer, layer_rules=rules)

That a rule forms autograd's gradients is proved when the capture first meets the model (`drpt.capture.checking`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import nn

from drpt.capture.layers.site import Forward, Site
from drpt.capture.step_size import StepSize


@dataclass(frozen=True, slots=True)
class FactoredForm:
    """The gradient is a sum of outer products over tokens; recorded as `drpt.capture.gradients.FactoredGradient`.

    A product with the matrix takes ``left · right`` multiplications a token, and a look-up none.
    """

    left: int  # size of the matrix's first axis
    right: int  # size of its second axis
    is_ids: bool = False  # whether the left factor is integers that stand for unit vectors, as in a table
    matrices_per_token: int = 1  # matrices of the parameter that each token meets, such as a few of many experts

    def announced_bytes(self, size: StepSize) -> int:
        """Bytes of activations and output gradients of one use."""
        if self.is_ids:
            return size.num_tokens * self.right * size.other_bytes
        return size.num_tokens * self.matrices_per_token * (self.left + self.right) * size.product_bytes


@dataclass(frozen=True, slots=True)
class PerExampleForm:
    """One gradient an example, formed as it is; recorded as `drpt.capture.gradients.PerExampleGradient`."""

    numbers: int  # entries of the parameter

    def announced_bytes(self, size: StepSize) -> int:
        """Bytes of the examples' gradients of one use."""
        return size.num_examples * self.numbers * size.other_bytes


GradientForm: TypeAlias = FactoredForm | PerExampleForm


class LayerRule(ABC):
    """One kind of layer.

    A subclass sets `name` and `parameters` and defines two methods; the others have defaults.
    """

    name: ClassVar[str]  # of the kind of layer, in plans
    parameters: ClassVar[frozenset[str] | None]  # the only parameters that a module of this kind may own; None: any
    is_linear: ClassVar[bool] = (
        False  # whether ``weight`` is that of a linear layer, which is all that parameters=linear_weights regularizes
    )
    runs_own_forward: ClassVar[bool] = False  # whether the module's own forward runs, even one set on the object

    @abstractmethod
    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """The forward that runs during a step in the place of the module's own.

        It computes the same result and, for each use of trained parameters (``site.trained``), calls ``site.announce`` once in
        the forward pass and ``site.record`` once in the backward pass. It forms no gradient of the parameters itself.

        Args:
            module: A module of this kind.
            ordinary: The module's own forward.
            site: The module's place in the capture.

        Returns:
            A function of the module's arguments.
        """

    @abstractmethod
    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """The form in which a parameter's gradient is recorded, from which plans count work and bytes.

        Args:
            module: A module of this kind; its parameters may be on the meta device.
            parameter: Name of the parameter within the module, such as ``weight``.

        Returns:
            The form.
        """

    def announced_bytes(self, module: nn.Module, trained: Sequence[str], size: StepSize) -> Mapping[str, int]:
        """Bytes that `captured_forward` announces in a step, by parameter; what is announced together counts once.

        Args:
            module: A module of this kind.
            trained: Names within the module of its trained parameters.
            size: How much goes through the module.

        Returns:
            Bytes by name within the module.
        """
        return {name: self.gradient_form(module, name).announced_bytes(size) for name in trained}

    def label(self, module: nn.Module, parameter: str) -> str:
        """The word for a parameter's kind in plans."""
        return self.name
