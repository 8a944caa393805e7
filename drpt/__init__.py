"""drpt: data-regularized post-training of language models."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drpt.app.api import regularizer, step_rows
    from drpt.capture.capture import GradientCapture
    from drpt.capture.layers.layer_rule import LayerRule
    from drpt.capture.layers.rules import LayerRules
    from drpt.capture.micro_batch import MicroBatch
    from drpt.capture.precision.meter import ScoreMeter
    from drpt.capture.products.sketch_spec import SketchSpec
    from drpt.objectives.language_modeling import packed_sample_losses, sample_losses

__all__ = [
    "GradientCapture",
    "LayerRule",
    "LayerRules",
    "MicroBatch",
    "ScoreMeter",
    "SketchSpec",
    "packed_sample_losses",
    "regularizer",
    "sample_losses",
    "step_rows",
]

__version__ = "0.1.0"

_HOMES = {
    "GradientCapture": "drpt.capture.capture",
    "LayerRule": "drpt.capture.layers.layer_rule",
    "LayerRules": "drpt.capture.layers.rules",
    "MicroBatch": "drpt.capture.micro_batch",
    "ScoreMeter": "drpt.capture.precision.meter",
    "SketchSpec": "drpt.capture.products.sketch_spec",
    "packed_sample_losses": "drpt.objectives.language_modeling",
    "regularizer": "drpt.app.api",
    "step_rows": "drpt.app.api",
    "sample_losses": "drpt.objectives.language_modeling",
}


def __getattr__(name: str) -> Any:  # Any: classes and functions
    # Imported on first use: `drpt --help` and the checks of a command line need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'drpt' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
