"""Encodes conversations with the tokenizer's chat template; only the assistant's turns count in the loss."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drpt.data.assistant_turns import PROMPT_DIFFERS, UNENDED, AssistantTurns
from drpt.data.conversation import Conversation
from drpt.data.example import Example, Message
from drpt.data.find_turns import find_assistant_turns, generation_prompt, require_written
from drpt.data.token_places import Place, check_decoding, mask_of, token_ids, tokens_of
from drpt.models.chat_renderer import ChatRenderer, ChatStyle
from drpt.models.chat_renderer import ChatTemplateError as ChatTemplateError  # part of what encoding may raise

# Reasons for which examples are left out, as relative clauses.
LEFT_OUT = {
    "empty": "which have no answer",
    "cut": "whose answer begins after data.max_length tokens",
    "weight_zero": 'which have no turn to learn ("weight": 0, or changed by the chat template)',
    "tool_calls": "whose tool calls the chat template does not write",
    "unwritten": "which contain a turn that the chat template does not write although it is answered",
    "refused": "which the chat template refuses",
    "ambiguous": "in which the assistant's tokens cannot be identified",
}
_OF_TEMPLATE = {"tool_calls", "unwritten", "refused", "ambiguous"}
_PLAIN = ChatStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """One conversation as tokens."""

    example: Example
    token_ids: list[int]  # tokens of the conversation, truncated to the largest length
    loss_mask: list[bool]  # True = the token counts in the loss
    prompt_ids: list[int]  # generation prompt for the last turn
    end_token_id: int | None = None  # special token that ends an answer under the template; None = none
    notes: Mapping[str, str] = field(default_factory=dict)  # notes for the user by the keys in drpt.data.assistant_turns
    is_cut: bool = False  # whether the conversation was truncated


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An example that is left out because it has nothing to learn."""

    example: Example
    reason: str  # a key of LEFT_OUT
    words: str  # explanation for the user, with what to do
    is_cut: bool  # whether the conversation exceeds the largest length


class ChatEncoder:
    """Encodes conversations as tokens.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        max_length: Largest number of tokens in a conversation; longer ones are truncated at the end.
        style: Date and options passed to the template.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, style: ChatStyle = _PLAIN) -> None:  # Any: transformers has no types
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._renderer = ChatRenderer(tokenizer, style)

    def encode(self, example: Example) -> EncodedExample | LeftOut:
        """Encode one example.

        Args:
            example: A conversation with an answer, or a plain text.

        Returns:
            The encoded example, or the reason why it has nothing to learn.
        """
        if not example.messages[-1].has_text:
            return LeftOut(example=example, reason="empty", words="there is no answer", is_cut=False)
        try:
            whole = self._plain_text(example) if example.is_plain_text else self._conversation(example)
        except ChatTemplateError as error:
            return LeftOut(example=example, reason=error.reason, words=str(error), is_cut=False)
        is_cut = len(whole.token_ids) > self._max_length
        if not any(whole.loss_mask):
            is_weight = not any(turn.is_learned for turn in example.messages if turn.role == "assistant")
            words = 'every assistant turn has "weight": 0'
            if not is_weight:
                words = "the template changes the turns to be learned when other turns follow, or they are empty"
            return LeftOut(example=example, reason="weight_zero", words=words, is_cut=is_cut)
        if not any(whole.loss_mask[: self._max_length]):
            words = f"its answer begins after {whole.loss_mask.index(True)} tokens; raise data.max_length={self._max_length}"
            return LeftOut(example=example, reason="cut", words=words, is_cut=True)
        return EncodedExample(
            example=example,
            token_ids=whole.token_ids[: self._max_length],
            loss_mask=whole.loss_mask[: self._max_length],
            prompt_ids=whole.prompt_ids,
            end_token_id=whole.end_token_id,
            notes=whole.notes,
            is_cut=is_cut,
        )

    def encode_prompt(self, example: Example) -> EncodedExample:
        """Encode the generation prompt for the last turn, without anything to learn.

        Args:
            example: A conversation, whose last turn is ignored.

        Returns:
            The encoded prompt, which may exceed the largest length.

        Raises:
            ChatTemplateError: The template refuses the turns or leaves one out; or the example is a plain text, which has no
                prompt.
        """
        if example.is_plain_text:
            raise ChatTemplateError("a plain text has no prompt to answer. Use conversations, or task=sft.")
        talk = Conversation(self._renderer, example.messages, example.tools)
        prompt, end = generation_prompt(talk)
        require_written(talk, prompt)
        ids = token_ids(self._tokenizer, prompt)
        return EncodedExample(
            example=example,
            token_ids=ids,
            loss_mask=[False] * len(ids),
            prompt_ids=ids,
            end_token_id=self._id_of(end),
        )

    def _conversation(self, example: Example) -> EncodedExample:
        found = find_assistant_turns(Conversation(self._renderer, example.messages, example.tools))
        ids, places = tokens_of(self._tokenizer, found.text)
        mask = mask_of(places, found.learned)
        check_decoding(self._tokenizer, found.text, ids, places, mask)
        if mask:
            mask[0] = False  # nothing predicts the first token
        prompt_ids = self._prompt_ids(found, ids, places)
        notes = dict(found.notes)
        if ids[: len(prompt_ids)] != prompt_ids and example.messages[-1].is_learned:
            # The text is the same, but a token spans the end of the prompt.
            notes.setdefault(PROMPT_DIFFERS, "a token spans the end of the prompt")
        return EncodedExample(
            example=example,
            token_ids=ids,
            loss_mask=mask,
            prompt_ids=prompt_ids,
            end_token_id=self._id_of(found.end),
            notes=notes,
        )

    def _prompt_ids(self, found: AssistantTurns, ids: list[int], places: list[Place]) -> list[int]:
        # Tokenizers split a text at special tokens and encode the pieces independently. If the conversation begins with the
        # prompt, both have the same tokens up to the last special token of the prompt.
        start = self._renderer.last_start(found.prompt) if found.text.startswith(found.prompt) else -1
        number = bisect_left(places, start, key=lambda place: place[0]) if start >= 0 else len(ids)
        if number < len(ids) and places[number][0] == start:
            rest = token_ids(self._tokenizer, found.prompt[start:])
            if rest[:1] == ids[number : number + 1]:
                return ids[:number] + rest
        return token_ids(self._tokenizer, found.prompt)

    def _plain_text(self, example: Example) -> EncodedExample:
        # Encoded as in pre-training: with the tokenizer's beginning of text, if any, and its end of text.
        ids = list(self._tokenizer(example.messages[-1].content, verbose=False)["input_ids"])
        end = self._tokenizer.eos_token_id
        if end is not None and ids[-1:] != [end]:
            ids.append(end)
        mask = [False] + [True] * (len(ids) - 1)
        notes = {UNENDED: ""} if end is None else {}
        return EncodedExample(example=example, token_ids=ids, loss_mask=mask, prompt_ids=ids[:1], end_token_id=end, notes=notes)

    def _id_of(self, token: str) -> int | None:
        return int(self._tokenizer.convert_tokens_to_ids(token)) if token else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPool:
    """The encoded examples of a pool, and those that were left out."""

    examples: list[EncodedExample]
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def num_truncated(self) -> int:
        """Number of examples that exceed the largest length, including those left out."""
        return sum(row.is_cut for row in self.examples) + sum(row.is_cut for row in self.left_out)

    @property
    def num_empty(self) -> int:
        """Number of examples left out because they have no assistant token within the largest length."""
        return sum(row.reason in {"empty", "cut"} for row in self.left_out)

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples that were truncated, left out (by reason), or have a note (by note)."""
        reasons = [row.reason for row in self.left_out if row.reason not in {"empty", "cut"}]
        notes = [note for row in self.examples for note in row.notes]
        return {"truncated": self.num_truncated, "empty": self.num_empty} | dict(Counter([*reasons, *notes]))

    def require_template(self) -> None:
        """Refuse a template with which no example can be used.

        Raises:
            ChatTemplateError: All examples are left out, the first of them because of the template; the message names it.
        """
        if self.left_out and not self.examples and self.left_out[0].reason in _OF_TEMPLATE:
            first = self.left_out[0]
            raise ChatTemplateError(f"{first.example.source}: {first.words}", reason=first.reason)


def encode_chat(
    tokenizer: Any, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] = (), style: ChatStyle = _PLAIN
) -> tuple[list[int], list[bool], list[int]]:
    """Encode a conversation, and identify the assistant's tokens.

    The rendered text is encoded once, so that the ids equal those of the tokenizer's own ``apply_chat_template``; see
    `drpt.data.find_turns` for which text is learned.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        messages: Turns of the conversation; the last is a non-empty turn of the assistant.
        tools: JSON schemas of functions that the assistant may call.
        style: Date and options passed to the template.

    Returns:
        Token ids; the loss mask of the same length, whose first entry is False; and the ids of the generation prompt for the
        last turn.

    Raises:
        ChatTemplateError: The template refuses the turns or does not write them, or the assistant's tokens cannot be
            identified.
    """
    example = Example(messages=tuple(messages), source="", tools=tuple(tools))
    row = ChatEncoder(tokenizer, max_length=0, style=style)._conversation(example)
    return row.token_ids, row.loss_mask, row.prompt_ids


def encode_examples(tokenizer: Any, examples: Iterable[Example], *, max_length: int, style: ChatStyle = _PLAIN) -> EncodedPool:
    """Encode the examples of a pool, truncated to ``max_length`` tokens.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        examples: Conversations or plain texts.
        max_length: Largest number of tokens in a conversation; longer ones are truncated at the end.
        style: Date and options passed to the template.

    Returns:
        Examples that have an assistant token to learn, and the others with the reason.

    Raises:
        ChatTemplateError: The template can be used for no example; the message names the first.
    """
    encoder = ChatEncoder(tokenizer, max_length=max_length, style=style)
    encoded: list[EncodedExample] = []
    left_out: list[LeftOut] = []
    for example in examples:
        row = encoder.encode(example)
        if isinstance(row, LeftOut):
            left_out.append(row)
        else:
            encoded.append(row)
    pool = EncodedPool(examples=encoded, left_out=left_out)
    pool.require_template()
    return pool
