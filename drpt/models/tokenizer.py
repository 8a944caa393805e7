"""Loads a model's tokenizer without the model, to find out which examples fit before weights are loaded."""

import logging
from functools import lru_cache
from typing import Any

from drpt.models.chat_template import set_chat_template
from drpt.models.embedded import embedded_model_folder
from drpt.models.model_folder import pretrained_place
from drpt.models.spec import ModelSpec

_log = logging.getLogger(__name__)


def load_tokenizer(spec: ModelSpec) -> Any | None:  # Any: transformers has no types
    """Load the tokenizer of a causal language model, with its chat template.

    Args:
        spec: The `model` config group.

    Returns:
        Tokenizer as returned by `drpt.models.load.load_model`, cached; None if it cannot be loaded, in which case loading the
        model reports the reason.
    """
    try:
        return _tokenizer(spec.source, spec.name, spec.revision, spec.chat_template)
    except (OSError, ValueError) as error:
        _log.debug("%s: no tokenizer (%s)", spec.label, error)
        return None


@lru_cache(maxsize=4)
def _tokenizer(source: str, name: str | None, revision: str | None, template: str) -> Any:
    if source == "tiny":
        from drpt.models.tiny import byte_tokenizer

        tokenizer = byte_tokenizer()
    else:
        from transformers import AutoTokenizer

        place = str(embedded_model_folder()) if source == "embedded" else pretrained_place(str(name))
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision or "main", trust_remote_code=False)
    set_chat_template(tokenizer, template, label=None)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
