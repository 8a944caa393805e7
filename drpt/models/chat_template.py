"""Chooses the chat template: the tokenizer's own, plain role markers, or the texts without markers."""

import logging
import re
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger(__name__)

CHAT_TEMPLATES = {
    "own": "the tokenizer's template, or plain if it has none",
    "plain": "markers <|user|> and <|assistant|>, the paper's format for fine-tuning",
    "text": "no markers: the response continues the prompt, as in prompting a base model",
}

# For models without chat training: plain markers, and the end-of-text token to stop at.
_PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
# Line breaks separate turns, but none precedes a response: the data decide what separates a prompt from its continuation.
_TEXT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% if not loop.last and (message['role'] == 'assistant' or messages[loop.index]['role'] != 'assistant') %}{{ '\\n' }}"
    "{% endif %}{% endfor %}"
)


def template_text(choice: str) -> str:
    """The template that drpt supplies for a choice.

    Args:
        choice: A key of `CHAT_TEMPLATES`.

    Returns:
        Jinja template; for ``own``, the fallback for tokenizers without a template.
    """
    return _TEXT_TEMPLATE if choice == "text" else _PLAIN_TEMPLATE


def set_chat_template(tokenizer: Any, choice: str, *, label: str | None) -> None:  # Any: transformers has no types
    """Set the chosen chat template of a tokenizer.

    With a template other than the tokenizer's own, conversations begin with its beginning-of-text token, if the tokenizer
    begins texts with it.

    Args:
        tokenizer: Tokenizer of transformers; changed in place.
        choice: A key of `CHAT_TEMPLATES`.
        label: Name of the model for log messages; None = no messages.

    Raises:
        ValueError: The tokenizer is one of mistral-common, which has no chat template.
    """
    if "mistral_common" in type(tokenizer).__module__:
        raise ValueError(
            f"{label}: its tokenizer is one of mistral-common, which has no chat template. Use a folder with tokenizer.json "
            "and a chat template, such as a copy of the model saved by transformers."
        )
    if choice == "own" and tokenizer.chat_template is not None:
        return
    if choice == "own" and label is not None:
        _log.warning("%s has no chat template; the plain one (<|user|>, <|assistant|>) is used", label)
    ids = tokenizer("a").input_ids
    begins = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + template_text(choice)


def check_options(tokenizer: Any, options: Mapping[str, Any]) -> None:  # Any: transformers has no types
    """Refuse options that a tokenizer's template would ignore.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        options: Value of ``model.chat_template_kwargs``.

    Raises:
        ValueError: The template does not use one of the options.
    """
    texts = tokenizer.chat_template
    text = "\n".join(texts.values()) if isinstance(texts, Mapping) else str(texts)
    for key in options:
        if not re.search(rf"\b{re.escape(key)}\b", text):
            raise ValueError(
                f"model.chat_template_kwargs.{key}: the chat template does not use this option. Leave it out, or look up the "
                "names of the options in the tokenizer's chat template."
            )
