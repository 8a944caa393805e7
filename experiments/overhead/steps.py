"""From a setting and a variant to a step that can be run: model, tokens, capture, AdamW."""

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
Watch = Callable[[str], AbstractContextManager[None]]  # times a part of the step under its name


class Subject:
    """A model, its optimizer and its tokenizer; all variants of a setting share them.

    Args:
        name: Which model.
        finetune: What of it is trained.
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
        # So small that the model stays the same for all rounds: AdamW's work does not depend on it.
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
    """Generated questions and answers, one after another, cut into rows without padding."""
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
    general = GeneralRows(base_weights=weights, example_ids=torch.arange(num_general), draw=0)
    return StepRows(general=general, num_target=num_target)


def rows_of(setting: Setting, variant: Variant) -> StepRows:
    """What the variant looks at, as in training; the wider standard step takes target rows for general ones."""
    n, m = setting.num_general, setting.num_target
    if variant.sees_all:
        return step_rows(n + m, 0)
    return step_rows(n if variant.regularizer.needs_general else 0, m if variant.regularizer.needs_target else 0)


def precision_of(setting: Setting) -> AbstractContextManager[object]:
    """Autocast where the setting asks for it; as in training, the backward pass runs under it too."""
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
    """Forward, backward, update in ``.grad`` and AdamW.

    Args:
        subject: What is trained.
        setting: Rows, tokens, precision.
        variant: How.
        rows: Other rows than the variant's own.
        watch: Told of the parts ``forward``, ``backward``, ``adamw``.
        trace: Told of the capture's own work.
        check: Whether the first step proves that the model is covered.

    Returns:
        One step; gradients must be forgotten between two.
    """
    model = subject.model
    capture = GradientCapture(
        model, variant.build_regularizer(), sketch=variant.sketch_spec(), retain_mib=variant.retain_mib, check=check
    )
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
