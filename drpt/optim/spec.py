"""The `optimizer` config group: its keys and rules, without torch."""

from dataclasses import dataclass

from drpt.checks import check_choice, check_interval

SCHEDULES = ("linear", "cosine", "constant")


@dataclass(kw_only=True)
class OptimizerSpec:
    """AdamW and the course of its learning rate."""

    lr: float  # at its highest
    betas: list[float]  # decay of the two moments
    eps: float
    weight_decay: float
    schedule: str  # one of SCHEDULES: towards 0 at the last step, or constant
    warmup_share: float  # share of the steps in which the rate climbs from 0
    clip_norm: float | None  # the update's norm is cut to this; null = never

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_interval("optimizer.lr", self.lr, low=0, is_low_included=False, meaning="the highest learning rate")
        if len(self.betas) != 2:
            raise ValueError(f"optimizer.betas={self.betas} must be two numbers, such as [0.9,0.999].")
        for beta in self.betas:
            check_interval("optimizer.betas", beta, low=0, high=1, is_high_included=False, meaning="a decay a step")
        check_interval("optimizer.eps", self.eps, low=0, is_low_included=False, meaning="AdamW's ε")
        check_interval("optimizer.weight_decay", self.weight_decay, low=0, meaning="decoupled weight decay")
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        check_interval("optimizer.warmup_share", self.warmup_share, low=0, high=1, meaning="a share of the steps")
        if self.clip_norm is not None:
            check_interval(
                "optimizer.clip_norm", self.clip_norm, low=0, is_low_included=False, meaning="the update's largest norm"
            )
