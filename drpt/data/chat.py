"""Conversations to tokens through the tokenizer's chat template, with the loss on the assistant's turns alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from drpt.data.example import Example, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """One conversation in tokens."""

    example: Example
    token_ids: list[int]  # cut to the maximal length
    loss_mask: list[bool]  # the token is predicted and counts in the loss
    prompt_ids: list[int]  # everything before the last assistant turn, as generation sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPool:
    """Examples that have something to learn, and how many were cut or left out."""

    examples: list[EncodedExample]
    num_truncated: int  # cut to the maximal length; those of them with tokens left to learn are in ``examples``
    num_empty: int  # left out: no assistant token within the maximal length


class ChatTemplateError(ValueError):
    """The template cannot be used for training; the message says why and what to do."""


def encode_chat(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], list[bool], list[int]]:
    """Tokens of a conversation, and which of them the assistant wrote.

    Every assistant turn is what the template adds to the prompt that generation would see (the end-of-turn token
    included); it is tokenized by itself, so that training and generation see the same tokens.

    Args:
        tokenizer: Of transformers, with a chat template.
        messages: The turns; the last is the assistant's, empty where there is only a prompt.

    Returns:
        Token ids, the loss mask of the same length (its first entry is False: nothing predicts the first token), and the
        ids before the last assistant turn.

    Raises:
        ChatTemplateError: The template refuses the turns, or rewrites earlier turns when later ones come.
    """
    token_ids: list[int] = []
    loss_mask: list[bool] = []
    num_prompt_ids = 0
    done = ""
    for end, message in enumerate(messages, start=1):
        if message.role != "assistant":
            continue
        prompt = _render(tokenizer, messages[: end - 1], is_prompt=True)
        turn = _render(tokenizer, messages[:end], is_prompt=False)
        if end == len(messages) and not message.content.strip() and not turn.startswith(prompt):
            turn = prompt  # some templates write nothing of an empty turn; the prompt is all there is
        if not prompt.startswith(done) or not turn.startswith(prompt):
            raise ChatTemplateError(
                "the chat template does not keep the text before an assistant turn as it is (some drop earlier thoughts or "
                "add nothing for a generation prompt), so that the assistant's tokens cannot be told apart. Use examples "
                "with one assistant turn, or a tokenizer whose template only appends."
            )
        written = turn.rstrip()  # the line break after the end-of-turn token is not the assistant's to predict
        for text, counts in ((prompt[len(done) :], False), (written[len(prompt) :], True)):
            ids = tokenizer.encode(text, add_special_tokens=False)
            token_ids += ids
            loss_mask += [counts] * len(ids)
            num_prompt_ids = num_prompt_ids if counts else len(token_ids)
        done = written
    if loss_mask:
        loss_mask[0] = False
    return token_ids, loss_mask, token_ids[:num_prompt_ids]


def _render(tokenizer: Any, messages: Sequence[Message], *, is_prompt: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=is_prompt))
    except Exception as error:  # a template may raise whatever it likes
        raise ChatTemplateError(f"the chat template refuses the roles {[m.role for m in messages]}: {error}") from error


def encode_examples(tokenizer: Any, examples: Iterable[Example], *, max_length: int) -> EncodedPool:
    """Encode a pool, cutting conversations at ``max_length`` tokens.

    Args:
        tokenizer: Of transformers, with a chat template.
        examples: Conversations.
        max_length: Most tokens of a conversation; more are cut off at the end.

    Returns:
        The examples that still have an assistant token to learn.

    Raises:
        ChatTemplateError: See `encode_chat`; the message names the example.
    """
    encoded: list[EncodedExample] = []
    num_truncated = num_empty = 0
    for example in examples:
        try:
            token_ids, loss_mask, prompt_ids = encode_chat(tokenizer, example.messages)
        except ChatTemplateError as error:
            raise ChatTemplateError(f"{example.source}: {error}") from error
        num_truncated += len(token_ids) > max_length
        token_ids, loss_mask = token_ids[:max_length], loss_mask[:max_length]
        if not any(loss_mask) or not example.response.strip():
            num_empty += 1
            continue
        encoded.append(EncodedExample(example=example, token_ids=token_ids, loss_mask=loss_mask, prompt_ids=prompt_ids))
    return EncodedPool(examples=encoded, num_truncated=num_truncated, num_empty=num_empty)
