"""The `trainer` config group: its keys and rules, without torch."""

from dataclasses import dataclass, field

from drpt.checks import check_choice, check_interval

PRECISIONS = {
    "32-true": "float32 throughout",
    "bf16-mixed": "float32 weights, bfloat16 products (autocast)",
    "bf16-true": "bfloat16 weights and products",
}
ACCELERATORS = ("auto", "cpu", "gpu")


@dataclass(kw_only=True)
class TrainerSpec:
    """How long, where and in which precision."""

    max_steps: int  # optimizer steps
    accelerator: str  # one of ACCELERATORS
    precision: str  # a key of PRECISIONS
    micro_batches: int  # micro-batches that a step's examples are split into, one after another, to need less memory
    activation_budget_mib: float  # activations that blocks of several layers may keep; beyond it a second backward pass runs
    check_capture: bool  # prove in the first step that examples' gradients are autograd's and stay apart: about one pass
    score_check_steps: int | None  # optimizer steps between two comparisons of bfloat16 scores with float32's; None = never
    checkpoint_every_steps: int  # optimizer steps between two checkpoints
    keep_steps: list[int]  # steps after which the trained parameters are kept for good, for `drpt probe checkpoint=STEP`
    layer_rules: list[str] = field(default_factory=list)  # dotted paths of mappings from types of module to rules of yours

    @property
    def checks_scores(self) -> bool:
        """Whether scores are compared with float32's: they are computed in lower precision, and it is asked for."""
        return self.precision != "32-true" and self.score_check_steps is not None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_interval("trainer.max_steps", self.max_steps, low=1, meaning="optimizer steps of the run")
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        check_choice("trainer.precision", self.precision, PRECISIONS)
        check_interval("trainer.micro_batches", self.micro_batches, low=1, meaning="micro-batches that a step is split into")
        check_interval(
            "trainer.activation_budget_mib",
            self.activation_budget_mib,
            low=0,
            meaning="MiB of activations that may be kept; 0 recomputes always",
        )
        if self.score_check_steps is not None:
            check_interval(
                "trainer.score_check_steps",
                self.score_check_steps,
                low=1,
                meaning="optimizer steps between two comparisons of scores; null = never",
            )
        check_interval(
            "trainer.checkpoint_every_steps",
            self.checkpoint_every_steps,
            low=1,
            meaning="optimizer steps between two checkpoints",
        )
        for step in self.keep_steps:
            check_interval(
                "trainer.keep_steps", step, low=1, high=self.max_steps, meaning="steps of the run whose weights are kept"
            )
