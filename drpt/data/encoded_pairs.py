"""Encodes preferences for a reward model as differences of features, computed once. Axes: pair, feature."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drpt.data.order import rows_of_step
from drpt.data.pair_rows import REJECTED
from drpt.data.pools import Pools
from drpt.data.preferences import prompt_text, require_pairs
from drpt.data.spec import DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """The pairs of one step: general pairs first, then target pairs."""

    differences: Tensor  # [pair, feature], features of the chosen response minus those of the rejected one
    example_ids: Tensor  # [general], index of each general pair in its pool
    num_target: int
    step: int  # index of the optimizer step, from 0

    @property
    def num_general(self) -> int:
        """Number of general pairs, ``n``."""
        return len(self.example_ids)


class EncodedPairs:
    """Encodes the pairs of all pools, and selects those of each step.

    Args:
        pools: Disjoint pools of pairs.
        model: Reward model that computes features; see `drpt.models.reward_model.RewardModel`. Any: tests use other encoders.
        spec: The `data` config group, whose ``max_length`` applies to each text.
        seed: Seed of the order of pairs.
        needs_general: Whether the update uses general pairs; otherwise batches have none.
        needs_target: Whether the update uses target pairs; otherwise batches have none.

    Raises:
        NoPairsError: An example has no rejected response.
    """

    def __init__(self, pools: Pools, model: Any, spec: DataSpec, *, seed: int, needs_general: bool, needs_target: bool) -> None:
        self.counts = dict(pools.counts)
        self.differences: dict[str, Tensor] = {}  # differences of features [pair, feature], by pool
        self.examples = {name: list(getattr(pools, name)) for name in ("general", "target", "stopping", "evaluation")}
        middles = []
        for name, examples in self.examples.items():
            require_pairs(examples)
            prompts = [prompt_text(example) for example in examples]
            sides = [[example.response for example in examples], [str(example.payload[REJECTED]) for example in examples]]
            # Encode both sides in one call, so that a text on both sides is encoded once.
            features = model.features(prompts * 2, [*sides[0], *sides[1]], max_length=spec.max_length)
            chosen, rejected = features[: len(examples)], features[len(examples) :]
            self.differences[name] = chosen - rejected
            if name in {"general", "target"}:
                middles.append((chosen + rejected) / 2)
            too_long = model.encoder.num_too_long([*prompts, *sides[0], *sides[1]], max_length=spec.max_length)
            self.counts[f"{name}_texts_cut"] = too_long
        # Mean of the midpoints between chosen and rejected responses, over all training pairs.
        self.middle = torch.cat(middles).mean(dim=0)
        self._general_rows = spec.general_rows if needs_general else 0
        self._target_rows = spec.target_rows if needs_target else 0
        self._seed = seed

    def step_pairs(self, step: int) -> PairBatch:
        """Select the pairs of one step, as a pure function of seed and step.

        Args:
            step: Index of the step, from 0.

        Returns:
            Batch of pairs on the CPU.
        """
        general = self._rows("general", self._general_rows, step)
        target = self._rows("target", self._target_rows, step)
        return PairBatch(
            differences=torch.cat([self.differences["general"][general], self.differences["target"][target]]),
            example_ids=general,
            num_target=len(target),
            step=step,
        )

    def _rows(self, pool: str, count: int, step: int) -> Tensor:
        size = len(self.differences[pool])
        rows = rows_of_step(pool_size=size, count=count, step=step, seed=self._seed, stream=f"{pool} pairs") if count else []
        return torch.tensor(rows, dtype=torch.long)
