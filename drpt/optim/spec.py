"""The `optimizer` config group: its keys and rules, without torch."""

from dataclasses import dataclass

from drpt.checks import SMALLEST_TO_SQUARE, check_choice, check_interval, check_size

SCHEDULES = ("linear", "cosine", "constant")
_LEAST_RATE = 1e-12  # half the spacing of float32's numbers at 2e-5
_LEAST_NEWS = 2.0**-24  # half the spacing of float32's numbers below 1: smaller updates leave a moment unchanged


@dataclass(kw_only=True)
class OptimizerSpec:
    """Settings of AdamW and its learning-rate schedule."""

    lr: float  # highest learning rate, reached after the warm-up
    betas: list[float]  # decay rates of the first and second moment, each from 0 to below 1; beta1² must not exceed beta2
    eps: float  # AdamW's ε, added to the square root of the second moment; at most 1
    weight_decay: float  # decoupled weight decay, at least 0: a step multiplies weights by 1 − lr · weight_decay
    schedule: str  # learning rate after the warm-up; linear and cosine fall towards 0 at the last step; one of SCHEDULES
    warmup_share: float  # share of the steps during which the learning rate rises, between 0 and 1
    clip_norm: float | None  # largest norm of the update, to which longer updates are scaled down; null = no clipping

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_learning_rate("optimizer.lr", self.lr, meaning="the highest learning rate")
        self._check_betas()
        check_interval("optimizer.eps", self.eps, low=0, is_low_included=False, meaning="AdamW's ε")
        if self.eps < SMALLEST_TO_SQUARE:
            raise ValueError(
                f"optimizer.eps={self.eps} must be at least {SMALLEST_TO_SQUARE:g}: float32 rounds the squares of smaller "
                "gradients to 0, so that AdamW would divide them by ε alone and could move weights by many times the learning "
                "rate."
            )
        if self.eps > 1:
            raise ValueError(
                f"optimizer.eps={self.eps} must be at most 1: AdamW divides by ε plus the gradient's size, and a larger ε "
                "leaves next to nothing of the learning rate. Lower optimizer.lr instead."
            )
        check_interval("optimizer.weight_decay", self.weight_decay, low=0, meaning="decoupled weight decay")
        check_decay("optimizer.lr", self.lr, self.weight_decay)
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        check_interval("optimizer.warmup_share", self.warmup_share, low=0, high=1, meaning="a share of the steps")
        if self.clip_norm is not None:
            self._check_clip_norm(self.clip_norm)

    def _check_betas(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"optimizer.betas={self.betas} must be two numbers, such as [0.9,0.999].")
        for beta in self.betas:
            check_interval("optimizer.betas", beta, low=0, high=1, is_high_included=False, meaning="a decay a step")
            if 1 - beta < _LEAST_NEWS:
                raise ValueError(
                    f"optimizer.betas={beta} must be at most 1 - {_LEAST_NEWS:.2g}: closer to 1, float32 rounds away what a "
                    "step adds to the moment, so that it never changes."
                )
        first, second = self.betas
        if first**2 > second:  # Cauchy–Schwarz: |m| / √v is bounded by a geometric series in β₁² / β₂
            raise ValueError(
                f"optimizer.betas={self.betas}: the square of the first must be at most the second. Otherwise the first moment "
                "outlives the second, and a step can be many times the learning rate. Are they in the right order, such as "
                "[0.9,0.999]?"
            )

    def _check_clip_norm(self, clip_norm: float) -> None:
        meaning = "the largest norm of an update; null = no clipping"
        check_size("optimizer.clip_norm", clip_norm, is_zero_included=False, meaning=meaning)
        if clip_norm < self.eps:
            raise ValueError(
                f"optimizer.clip_norm={clip_norm} must be at least optimizer.eps={self.eps:g}: AdamW adds ε to the size of the "
                "clipped gradient, and the update would all but vanish. Lower optimizer.lr instead."
            )


def check_learning_rate(option: str, lr: float, *, meaning: str) -> None:
    """Require a learning rate that changes weights and keeps them within the range of float32.

    Args:
        option: Full name of the option, as typed on the command line.
        lr: Learning rate, which is about how far AdamW moves a weight in one step.
        meaning: Description of the number, for the message.

    Raises:
        ValueError: It is not positive, too large or too small.
    """
    check_size(option, lr, is_zero_included=False, meaning=meaning)
    if lr < _LEAST_RATE:
        raise ValueError(
            f"{option}={lr} must be at least {_LEAST_RATE:g}: {meaning}. AdamW moves a weight by about this amount in a step, "
            "and float32 rounds it away in every weight above 1e-5."
        )


def check_decay(option: str, lr: float, weight_decay: float) -> None:
    """Require a weight decay that neither erases weights nor flips their signs.

    Args:
        option: Full name of the learning rate's option, as typed on the command line.
        lr: Highest learning rate of some parameters.
        weight_decay: Decoupled weight decay of the same parameters; a step multiplies them by ``1 − lr · weight_decay``.

    Raises:
        ValueError: That factor is 0 or negative.
    """
    if lr * weight_decay >= 1:
        raise ValueError(
            f"optimizer.weight_decay={weight_decay} times {option}={lr:g} is {lr * weight_decay:.3g} and must be below 1: each "
            "step multiplies every weight by 1 minus this product. Lower one of the two."
        )
