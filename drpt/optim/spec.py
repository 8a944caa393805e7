"""The `optimizer` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drpt.checks import SMALLEST_TO_SQUARE, check_choice, check_interval, check_size

ADAMW = "adamw"
_OF_ADAMW = ("betas", "eps", "weight_decay")
SCHEDULES = ("linear", "cosine", "constant")
_LEAST_RATE = 1e-12  # half the spacing of float32's numbers at 2e-5
_LEAST_NEWS = 2.0**-24  # half the spacing of float32's numbers below 1: smaller updates leave a moment unchanged


@dataclass(kw_only=True)
class OptimizerSpec:
    """Settings of the optimizer, AdamW or one of the user's, and its learning-rate schedule."""

    lr: float  # highest learning rate, reached after the warm-up
    betas: list[float] | None  # decay rates of AdamW's two moments, each from 0 to below 1; beta1² must not exceed beta2
    eps: float | None  # AdamW's ε, added to the square root of the second moment; at most 1
    weight_decay: float | None  # AdamW's decoupled weight decay, at least 0: a step multiplies weights by 1 − lr · weight_decay
    schedule: str  # learning rate after the warm-up; linear and cosine fall towards 0 at the last step; one of SCHEDULES
    warmup_share: float  # share of the steps during which the learning rate rises, between 0 and 1
    clip_norm: float | None  # largest norm of the update, to which longer updates are scaled down; null = no clipping
    name: str = ADAMW  # adamw, or the dotted path of a torch.optim.Optimizer of yours (optimizer=own)
    arguments: dict[str, Any] = field(default_factory=dict)  # keyword arguments of an optimizer of yours, besides lr

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_learning_rate("optimizer.lr", self.lr, meaning="the highest learning rate", is_adamw=self.is_adamw)
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        check_interval("optimizer.warmup_share", self.warmup_share, low=0, high=1, meaning="a share of the steps")
        if self.clip_norm is not None:
            meaning = "the largest norm of an update; null = no clipping"
            check_size("optimizer.clip_norm", self.clip_norm, is_zero_included=False, meaning=meaning)
        if self.is_adamw:
            self._check_adamw()
        else:
            self._check_other()

    @property
    def is_adamw(self) -> bool:
        """Whether the optimizer is AdamW, and no class from outside the package."""
        return self.name == ADAMW

    def _check_other(self) -> None:
        if not self.name:
            raise ValueError("optimizer.name is needed: add optimizer.name=…, the dotted path of an optimizer of yours.")
        if "." not in self.name:
            raise ValueError(
                f"optimizer.name={self.name!r} is not known. Choices: {ADAMW}, or the dotted path of an optimizer of yours."
            )
        for key in _OF_ADAMW:
            if getattr(self, key) is not None:
                raise ValueError(
                    f"optimizer.{key}={getattr(self, key)} belongs to AdamW and would be ignored: take optimizer=own, which "
                    f"leaves it null, and give +optimizer.arguments.{key}=… if {self.name} has such an argument."
                )
        arguments: object = self.arguments
        if not isinstance(arguments, Mapping):
            raise ValueError(f"optimizer.arguments={arguments!r} must be a mapping, such as {{momentum: 0.9}}.")

    def _check_adamw(self) -> None:
        if self.arguments:
            raise ValueError(
                f"optimizer.arguments={self.arguments} belong to an optimizer of yours (optimizer=own optimizer.name=…); "
                f"AdamW's are {', '.join(f'optimizer.{key}' for key in _OF_ADAMW)}."
            )
        for key in _OF_ADAMW:
            if getattr(self, key) is None:
                raise ValueError(f"optimizer.{key}=null: AdamW needs it; give a number, or take an optimizer of yours.")
        assert self.betas is not None
        assert self.eps is not None
        assert self.weight_decay is not None
        self._check_betas(self.betas)
        self._check_eps(self.eps)
        check_interval("optimizer.weight_decay", self.weight_decay, low=0, meaning="decoupled weight decay")
        check_decay("optimizer.lr", self.lr, self.weight_decay)

    def _check_eps(self, eps: float) -> None:
        check_interval("optimizer.eps", eps, low=0, is_low_included=False, meaning="AdamW's ε")
        if eps < SMALLEST_TO_SQUARE:
            raise ValueError(
                f"optimizer.eps={eps} must be at least {SMALLEST_TO_SQUARE:g}: float32 rounds the squares of smaller "
                "gradients to 0, so that they would be divided by ε alone and move their weights by any number of learning "
                "rates."
            )
        if eps > 1:
            raise ValueError(
                f"optimizer.eps={eps} must be at most 1: AdamW divides by ε plus the gradient's size, and a larger ε "
                "leaves next to nothing of the learning rate. Lower optimizer.lr instead."
            )
        if self.clip_norm is not None and self.clip_norm < eps:
            raise ValueError(
                f"optimizer.clip_norm={self.clip_norm} must be at least optimizer.eps={eps:g}: AdamW adds ε to the size of the "
                "clipped gradient, and the update would all but vanish. Lower optimizer.lr instead."
            )

    def _check_betas(self, betas: list[float]) -> None:
        if len(betas) != 2:
            raise ValueError(f"optimizer.betas={betas} must be two numbers, such as [0.9,0.999].")
        for beta in betas:
            check_interval("optimizer.betas", beta, low=0, high=1, is_high_included=False, meaning="a decay a step")
            if 1 - beta < _LEAST_NEWS:
                raise ValueError(
                    f"optimizer.betas={beta} must be at most 1 - {_LEAST_NEWS:.2g}: closer to 1, float32 rounds away what a "
                    "step adds to the moment, so that it never changes."
                )
        first, second = betas
        if first**2 > second:  # Cauchy–Schwarz: |m| / √v is bounded by a geometric series in β₁² / β₂
            raise ValueError(
                f"optimizer.betas={betas}: the square of the first must be at most the second. Otherwise the first moment "
                "outlives the second, and a step can be many times the learning rate. Are they in the right order, such as "
                "[0.9,0.999]?"
            )


def check_learning_rate(option: str, lr: float, *, meaning: str, is_adamw: bool = True) -> None:
    """Require a learning rate that changes weights and keeps them within the range of float32.

    Args:
        option: Full name of the option, as typed on the command line.
        lr: Learning rate, which is about how far AdamW moves a weight in one step.
        meaning: Description of the number, for the message.
        is_adamw: Whether AdamW uses it; another optimizer's steps may be of any size.

    Raises:
        ValueError: It is not positive, too large or too small.
    """
    check_size(option, lr, is_zero_included=False, meaning=meaning)
    if is_adamw and lr < _LEAST_RATE:
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
