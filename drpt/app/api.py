"""Functions for training loops of one's own: a regularizer from a preset, and the examples of a step.

Exported as `drpt.regularizer` and `drpt.step_rows`; they need neither Lightning nor Hydra.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError
from torch import Tensor

from drpt.app.presets import preset_values
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.checks import check_choice
from drpt.geometry.products import GeneralRows
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.renamed import refusal


def regularizer(
    preset: str,
    *,
    seed: int = 0,
    sketch: SketchSpec | None = None,
    activation_budget_mib: float | None = None,
    unregularized: Sequence[str] = (),
    **changes: Any,  # Any: keys have values of several kinds
) -> Regularizer:
    """A preset of ``conf/regularizer``, with changes.

    Args:
        preset: Name of the preset, such as ``layerwise_hull``; `drpt train --help` lists them.
        seed: Seed of random scores.
        sketch: The random matrices of ``products="sketch"``; those of ``conf/sketch/gaussian.yaml`` if left out.
        activation_budget_mib: MiB of activations that the capture may keep before it computes them again in a second
            pass; 4096 if left out.
        unregularized: Patterns of parameter names (``value_head.*``) that get the ordinary general gradient.
        changes: Keys of the `regularizer` config group: ``strength=0.25``, ``partition="global"``, ``products="sketch"``, …

    Returns:
        The regularizer, for `drpt.GradientCapture`.

    Raises:
        ValueError: The preset or a key does not exist, a value breaks its rule, or a value is missing that a run would set
            (``step_size``, usually the learning rate).
    """
    config = OmegaConf.create(preset_values("regularizer", preset))
    for key, value in changes.items():
        if (renamed := refusal(f"regularizer.{key}")) is not None:
            raise ValueError(renamed)
        check_choice("key", key, [str(known) for known in config])
        config[key] = value
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except InterpolationKeyError as error:
        raise ValueError(
            f"{error.full_key} of the preset {preset!r} refers to an option of a whole run: give {error.full_key}=…."
        ) from error
    assert isinstance(values, dict)
    return build_regularizer(
        RegularizerSpec(**{str(key): value for key, value in values.items()}),
        seed=seed,
        sketch=sketch,
        activation_budget_mib=activation_budget_mib,
        unregularized=unregularized,
    )


def step_rows(
    *,
    num_general: int,
    num_target: int,
    step_index: int,
    base_weights: Float[Tensor, " general"] | None = None,
    example_ids: Sequence[int] | None = None,
) -> StepRows:
    """Describe the examples of one step; in a batch, general examples come first.

    Args:
        num_general: Number n of general examples, over all batches of the step, and over all processes unless the regularizer
            has ``choice_scope="rank"``.
        num_target: Number m of target examples, counted like ``num_general``.
        step_index: Index of the step, which random scores and refreshed sketches depend on.
        base_weights: Weights ω of the general examples [general], of sum 1; default: 1/n each.
        example_ids: Ids of the general examples, which break ties; default: 0 to n − 1.

    Returns:
        The examples, for `GradientCapture.step`.

    Raises:
        ValueError: ``base_weights`` or ``example_ids`` has another length than n, or the weights do not sum to 1.
    """
    ids = torch.arange(num_general) if example_ids is None else torch.tensor(example_ids, dtype=torch.long)
    weights = torch.full((num_general,), 1.0 / max(num_general, 1)) if base_weights is None else base_weights
    for name, values in (("example_ids", ids), ("base_weights", weights)):
        if len(values) != num_general:
            raise ValueError(f"{name} has {len(values)} entries for num_general={num_general} examples.")
    if num_general and not (bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-4):
        raise ValueError(f"base_weights must be at least 0 and sum to 1; they sum to {float(weights.sum()):g}.")
    return StepRows(
        general=GeneralRows(base_weights=weights, example_ids=ids.to(weights.device), step_index=step_index),
        num_target=num_target,
    )
