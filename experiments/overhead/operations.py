"""Counts the multiplications of a step: the minimum of any implementation, and the part of the products.

Only matrix products are counted; attention, norms, the loss and AdamW are left out for both steps. In a standard step a trained
matrix takes three products over the tokens. Here it takes two over all tokens, and the update over the rows that are kept. A
frozen matrix takes two. The number of kept rows is known for sets that select a fixed number. For sets whose coefficients may
vanish (filter, hull, cone and most relatives), all rows are counted, and the measured time may lie below the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from drpt.capture.options import ProductsMethod
from drpt.capture.products.cost import Need, ParameterShape, UseShape
from drpt.capture.products.sketch_spec import SketchKind
from experiments.overhead.settings import Setting
from experiments.overhead.variants import Variant


@dataclass(frozen=True, slots=True)
class Operations:
    """Multiplications of one step."""

    standard: int  # multiplications of the standard step on the general rows
    free: int  # multiplications of this step without the products
    products: int

    @property
    def limit(self) -> float:
        """Lowest ratio that any implementation can reach, without products."""
        return self.free / self.standard

    @property
    def ratio(self) -> float:
        """Ratio with the products."""
        return (self.free + self.products) / self.standard

    def __add__(self, other: "Operations") -> "Operations":
        """Both."""
        return Operations(self.standard + other.standard, self.free + other.free, self.products + other.products)


def count(model: nn.Module, setting: Setting, variant: Variant) -> Operations:
    """Count the multiplications of all linear layers and embeddings of a model, tied ones once.

    Args:
        model: Model, whose trained parameters require gradients.
        setting: Rows and tokens.
        variant: Variant of the step.

    Returns:
        The sum over the model.
    """
    uses: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            uses.setdefault(id(module.weight), []).append(module)
    total = Operations(0, 0, 0)
    for modules in uses.values():
        total += count_matrix(modules, setting, variant)
    return total


def count_matrix(modules: Sequence[nn.Module], setting: Setting, variant: Variant) -> Operations:
    """Count the multiplications of one matrix in all modules that use it."""
    weight = modules[0].get_parameter("weight")
    general, target = setting.num_general * setting.num_tokens, setting.num_target * setting.num_tokens
    shape = ParameterShape(
        left=weight.shape[0],
        right=weight.shape[1],
        uses=tuple(UseShape(general, target, isinstance(module, nn.Embedding)) for module in modules),
        num_general=setting.num_general,
        num_target=setting.num_target,
    )
    num_dense = sum(isinstance(module, nn.Linear) for module in modules)
    per_pass = num_dense * weight.numel()  # multiplications for one token in all uses
    regularizer = variant.regularizer
    targets = regularizer.needs_target or variant.sees_all
    seen = general * (variant.sees_all or regularizer.needs_general) + target * targets
    if not weight.requires_grad:
        passes = 3 if variant.is_recomputing else 2
        return Operations(2 * general * per_pass, passes * seen * per_pass, 0)
    if variant.need is None:
        return Operations(3 * general * per_pass, 3 * seen * per_pass, 0)
    standard, free = shape.step(kept_examples=float(kept_examples(setting, variant)))
    again = seen * per_pass if variant.is_recomputing else 0
    return Operations(standard, free + again, _products(shape, variant, variant.need))


def kept_examples(setting: Setting, variant: Variant) -> int:
    """Rows that the update is taken over, at most: the k that are chosen, or all general ones, and v's where it counts."""
    regularizer = variant.regularizer
    return regularizer.most_kept(setting.num_general) + (setting.num_target if regularizer.feasible_set.uses_target else 0)


def _products(shape: ParameterShape, variant: Variant, need: Need) -> int:
    if variant.width is not None:
        left, right = min(variant.width, shape.left), min(variant.width, shape.right)
        found = shape.sketch(left, right)
        if variant.sketch != SketchKind.ROW_MASK.value:
            return found.multiplications
        # Coordinates are selected without multiplications; only the selected ones are compared.
        examples = shape.num_general + shape.num_target
        tokens = sum(use.general_tokens + use.target_tokens for use in shape.uses)
        return (tokens + examples**2) * left * right
    method = ProductsMethod(variant.products)
    method = shape.cheapest(need) if method is ProductsMethod.AUTO else method
    return shape.cost(method, need).multiplications
