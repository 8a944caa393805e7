"""Builds runnable steps from a setting and a variant: model, tokens, capture, AdamW."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.rows import StepRows
from drpt.capture.trace import UNWATCHED, StepTrace
from drpt.data.reasoning import ReasoningSource
from drpt.geometry.products import GeneralRows
from drpt.models.load import apply_finetune, load_model
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.objectives.language_modeling import sample_losses
from experiments.overhead.settings import Setting
from experiments.overhead.variants import Variant

ModelName = Literal["smollm2_135m", "tiny"]
Watch = Callable[[str], AbstractContextManager[None]]  # context manager that times a part of the step under its name


class Subject:
    """A model with its optimizer and tokenizer, which all variants of a setting share.

    Args:
        name: Name of the model.
        finetune: Kind of fine-tuning.
    """

    def __init__(self, name: ModelName, finetune: str) -> None:
        source = "tiny" if name == "tiny" else "embedded"
        loaded = load_model(
            ModelSpec(source=source, name=None, revision=None, chat_template="own", gradient_checkpointing=False)
        )
        is_lora = finetune == "lora"
        spec = FinetuneSpec(
            method=finetune,
            rank=8 if is_lora else None,
            alpha=16.0 if is_lora else None,
            dropout=0.0 if is_lora else None,
            target_modules=None,
            default_lr=1e-5,
        )
        self.key = (name, finetune)
        self.model: nn.Module = apply_finetune(loaded.model, spec, seed=0)
        self.tokenizer = loaded.tokenizer
        # A learning rate so small that the model hardly changes; AdamW's work does not depend on it.
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=1e-9)
        self._tokens: dict[tuple[int, int], torch.Tensor] = {}

    def tokens(self, num_rows: int, length: int) -> torch.Tensor:
        """See `real_tokens`."""
        if (num_rows, length) not in self._tokens:
            self._tokens[num_rows, length] = real_tokens(self.tokenizer, num_rows, length)
        return self._tokens[num_rows, length]

    def forget_gradients(self) -> None:
        """Between steps."""
        self.optimizer.zero_grad(set_to_none=True)


def real_tokens(tokenizer: Any, num_rows: int, length: int) -> torch.Tensor:  # Any: transformers has no types
    """Token ids of generated questions and answers, concatenated and cut into rows without padding."""
    source = ReasoningSource(
        target="gsm_symbolic",
        target_options={},
        general=["basic_arithmetic", "spell_backward", "lcm"],
        general_options={},
        system=None,
    )
    ids: list[int] = []
    for example in source.general(0):
        ids += tokenizer.encode(f"{example.prompt[0].content} {example.response}\n")
        if len(ids) >= num_rows * length:
            return torch.tensor(ids[: num_rows * length]).view(num_rows, length)
    raise AssertionError("the stream is endless")


def step_rows(num_general: int, num_target: int) -> StepRows:
    """Examples of equal weight."""
    weights = torch.full((num_general,), 1 / max(1, num_general))
    general = GeneralRows(base_weights=weights, example_ids=torch.arange(num_general), step_index=0)
    return StepRows(general=general, num_target=num_target)


def rows_of(setting: Setting, variant: Variant) -> StepRows:
    """The rows of a variant, as in training; the wider standard step treats target rows as general ones."""
    n, m = setting.num_general, setting.num_target
    if variant.sees_all:
        return step_rows(n + m, 0)
    return step_rows(n if variant.regularizer.needs_general else 0, m if variant.regularizer.needs_target else 0)


def precision_of(setting: Setting) -> AbstractContextManager[object]:
    """Autocast for bf16 settings; as in training, it includes the backward pass."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if setting.precision == "bf16" else nullcontext()


@contextmanager
def _unwatched(part: str) -> Iterator[None]:
    yield


def make_step(
    subject: Subject,
    setting: Setting,
    variant: Variant,
    *,
    rows: StepRows | None = None,
    watch: Watch = _unwatched,
    trace: StepTrace = UNWATCHED,
    check: bool = True,
) -> Callable[[], None]:
    """Build a step: forward, backward, update in ``.grad``, and AdamW.

    Args:
        subject: Model and optimizer.
        setting: Rows, tokens and precision.
        variant: Variant of the step.
        rows: Rows to use instead of the variant's own.
        watch: Timer for the parts ``forward``, ``backward`` and ``adamw``.
        trace: Trace of the capture's own work.
        check: Whether the first step checks that the model is covered.

    Returns:
        A function that runs one step; gradients must be cleared between two calls.
    """
    model = subject.model
    capture = GradientCapture(model, variant.build_regularizer(), check=check)
    rows = rows_of(setting, variant) if rows is None else rows
    ids = subject.tokens(setting.num_general + setting.num_target, setting.num_tokens)[: rows.num_examples]
    mask = torch.ones_like(ids, dtype=torch.bool)

    def step() -> None:
        with precision_of(setting), capture.step(rows, trace=trace) as opened:
            with watch("forward"):
                losses = sample_losses(model(input_ids=ids, use_cache=False).logits, ids, mask)
            with watch("backward"):
                opened.backward(losses)
            del losses
        with watch("adamw"):
            subject.optimizer.step()

    return step
