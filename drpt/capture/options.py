"""What a capture is asked to do beside the projection: in which parameters, by which products, within how much memory.

No torch: the values are checked before anything heavy is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from drpt.capture.products.sketch_spec import DEFAULT_SKETCH, SketchSpec


class Partition(Enum):
    """How parameters are grouped into blocks; finer = larger feasible set = weaker regularization."""

    GLOBAL = "global"  # one block
    BLOCK = "block"  # a block for each transformer block; a module outside them is a block of its own
    KIND = "kind"  # all q_proj together, all down_proj together, …
    LAYER = "layer"  # a block for each module that owns parameters


class ProductsMethod(Enum):
    """How inner products of per-example gradients are computed; all methods but sketches are exact."""

    AUTO = "auto"  # the cheapest of the three below for each layer, by counting operations and bytes
    REDUCED = "reduced"  # form v's block, then <o_t, V x_t> for each general token
    PAIRWISE = "pairwise"  # token by token: <o_t, o_t'> <x_t, x_t'>; never forms v
    DIRECT = "direct"  # form the examples' gradients, a slice of the parameter at a time
    SKETCH = "sketch"  # from random projections of x and o: unbiased, at almost no cost


class RegularizedParameters(Enum):
    """Which trained parameters are regularized; the others get the ordinary gradient of the general mean."""

    ALL = "all"
    LINEAR_WEIGHTS = "linear_weights"  # weights of linear layers alone: tables, norms and biases are left out, as in the paper


class ChoiceScope(Enum):
    """Among which examples of a step the choice is made."""

    STEP = "step"  # all of them, over micro-batches and processes
    RANK = "rank"  # the examples of each process: only the update is sent between processes
    MICRO = "micro"  # the examples of each micro-batch: nothing is kept from one to the next


class BaseWeights(Enum):
    """The weights ω of the general examples; they sum to 1."""

    EXAMPLE = "example"  # 1/n each
    TOKEN = "token"  # each example's share of the step's loss tokens, as in the paper


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """How a capture carries out a projection in a model."""

    partition: Partition
    products: ProductsMethod
    parameters: RegularizedParameters
    choice_scope: ChoiceScope
    sketch: SketchSpec = field(default_factory=lambda: DEFAULT_SKETCH)  # the random matrices of ``products=sketch``
    # MiB of activations and output gradients that blocks of several layers, or steps of several batches, may keep until they
    # are complete; beyond it a second backward pass meets them again. The result is the same.
    activation_budget_mib: float = 4096.0
    unregularized: Sequence[str] = ()  # patterns of parameters (``value_head.*``) that get the ordinary general gradient
