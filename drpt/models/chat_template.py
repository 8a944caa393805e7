"""How turns become the text that a model reads: its tokenizer's template, plain markers, or the texts alone."""

import logging
import re
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger(__name__)

CHAT_TEMPLATES = {
    "own": "the tokenizer's template; plain where it has none",
    "plain": "markers <|user|> and <|assistant|>, the paper's format for fine-tuning",
    "text": "no markers: the response goes on where the prompt ends, as a base model is prompted",
}

# For models that were never taught a chat: plain markers, and the end-of-text token to stop at.
_PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
# Lines between turns, but none before a response: what stands between a prompt and its continuation is for the two to say.
_TEXT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% if not loop.last and (message['role'] == 'assistant' or messages[loop.index]['role'] != 'assistant') %}{{ '\\n' }}"
    "{% endif %}{% endfor %}"
)


def template_text(choice: str) -> str:
    """The template of a choice, as far as it is ours.

    Args:
        choice: A key of `CHAT_TEMPLATES`.

    Returns:
        Jinja; of ``own``, which is the tokenizer's business, what stands in for it where there is none.
    """
    return _TEXT_TEMPLATE if choice == "text" else _PLAIN_TEMPLATE


def set_chat_template(tokenizer: Any, choice: str, *, label: str | None) -> None:  # Any: transformers has no types
    """Give a tokenizer the template that was chosen.

    Where the template is not the tokenizer's own, conversations begin as the tokenizer begins texts: some with a token of
    their own.

    Args:
        tokenizer: Of transformers; changed.
        choice: A key of `CHAT_TEMPLATES`.
        label: The model, for the log; None: nothing is said.

    Raises:
        ValueError: The tokenizer is one of mistral-common, which makes conversations by code of its own.
    """
    if "mistral_common" in type(tokenizer).__module__:
        raise ValueError(
            f"{label}: its tokenizer is mistral-common's, which has no chat template. Take a folder with tokenizer.json and a "
            "chat template, such as a copy of the model that transformers saved."
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
        options: ``model.chat_template_kwargs``.

    Raises:
        ValueError: The template does not name one.
    """
    texts = tokenizer.chat_template
    text = "\n".join(texts.values()) if isinstance(texts, Mapping) else str(texts)
    for key in options:
        if not re.search(rf"\b{re.escape(key)}\b", text):
            raise ValueError(
                f"model.chat_template_kwargs.{key}: the chat template does not ask for it, so that it would change nothing. "
                "Leave it out, or read the tokenizer's chat template for the names of its options."
            )
