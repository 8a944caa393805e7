"""Settings of a step (shape, fine-tuning, precision), and the settings of each part of the measurement."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Shape, fine-tuning and precision of a step."""

    num_general: int  # n
    num_target: int  # m
    num_tokens: int  # T, tokens of a row
    finetune: Literal["full", "lora"] = "full"
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, around forward and backward

    @property
    def key(self) -> str:
        """Names files."""
        return f"n{self.num_general}-m{self.num_target}-T{self.num_tokens}-{self.finetune}-{self.precision}"

    @property
    def shape(self) -> str:
        """``n=8, m=1, T=128``."""
        return f"n={self.num_general}, m={self.num_target}, T={self.num_tokens}"

    @property
    def trained(self) -> str:
        """``LoRA, bf16``."""
        return f"{'LoRA' if self.finetune == 'lora' else 'full'}, {self.precision}"

    @property
    def label(self) -> str:
        """Label in tables and charts."""
        return f"{self.shape}, {self.trained}"


FIRST = Setting(num_general=8, num_target=1, num_tokens=128)  # this setting and the next have goals for time
FOUR_TARGETS = replace(FIRST, num_target=4)
LONGER = Setting(num_general=4, num_target=1, num_tokens=256)
SHAPES = (FIRST, FOUR_TARGETS, LONGER)
STEP_SETTINGS = tuple(
    replace(shape, finetune=finetune, precision=precision)
    for finetune in ("full", "lora")
    for precision in ("fp32", "bf16")
    for shape in SHAPES
)
# Settings for peak memory with one process for each variant, in addition to the memory sampled in every warm-up.
MEMORY_SETTINGS = (
    FIRST,
    FOUR_TARGETS,
    LONGER,
    replace(FIRST, precision="bf16"),
    replace(FIRST, finetune="lora"),
)
BREAKDOWN_SETTINGS = (FIRST, FOUR_TARGETS)
GROWTH: dict[str, tuple[Setting, ...]] = {
    "n": tuple(replace(FIRST, num_general=n) for n in (2, 4, 8, 16, 32)),
    "T": tuple(replace(FIRST, num_tokens=tokens) for tokens in (64, 128, 256, 512)),
    "m": tuple(replace(FIRST, num_target=m) for m in (1, 2, 4, 8)),
}
