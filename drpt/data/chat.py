"""Conversations to tokens through the tokenizer's chat template, with the loss on the assistant's turns alone."""

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

# Why an example is left out.
LEFT_OUT = {
    "empty": "without an answer",
    "cut": "whose answer lies beyond data.max_length",
    "weight_zero": 'none of whose turns is learned ("weight": 0, or changed by the chat template)',
    "tool_calls": "whose tool calls the chat template does not write",
    "unwritten": "of which the chat template leaves out a turn that is answered",
    "refused": "that the chat template refuses",
    "ambiguous": "in which the assistant's tokens cannot be told apart",
}
_OF_TEMPLATE = {"tool_calls", "unwritten", "refused", "ambiguous"}
_PLAIN = ChatStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """One conversation in tokens."""

    example: Example
    token_ids: list[int]  # cut to the maximal length
    loss_mask: list[bool]  # the token is predicted and counts in the loss
    prompt_ids: list[int]  # what generation is given to answer the last turn
    end_token_id: int | None = None  # the special token that ends an answer under the template
    notes: Mapping[str, str] = field(default_factory=dict)  # what has to be said; keys of drpt.data.assistant_turns
    is_cut: bool = False  # was longer


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An example that cannot be learned."""

    example: Example
    reason: str  # a key of LEFT_OUT
    words: str  # what is wrong, and what to do
    is_cut: bool  # longer than the maximal length


class ChatEncoder:
    """From conversations to tokens.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        max_length: Most tokens of a conversation; more are cut off at the end.
        style: The date and options that the template is told.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, style: ChatStyle = _PLAIN) -> None:  # Any: as everywhere
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._renderer = ChatRenderer(tokenizer, style)

    def encode(self, example: Example) -> EncodedExample | LeftOut:
        """Encode one example.

        Args:
            example: A conversation with an answer, or a plain text.

        Returns:
            Its tokens, or why there is nothing to learn of it.
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
                words = "the turns to be learned are written otherwise by the template once others follow, or are empty"
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
        """Encode what generation is given; nothing of it is learned.

        Args:
            example: A conversation; what its last turn says does not matter.

        Returns:
            The prompt, which may be longer than the maximal length.

        Raises:
            ChatTemplateError: The template refuses the turns, or leaves one out; or the example is a plain text, without a
                prompt.
        """
        if example.is_plain_text:
            raise ChatTemplateError("a plain text has no prompt to answer. Take conversations, or task=sft.")
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
            # The same text, in which a token lies across the end of the prompt.
            notes.setdefault(PROMPT_DIFFERS, "tokens that reach from the prompt into the answer")
        return EncodedExample(
            example=example,
            token_ids=ids,
            loss_mask=mask,
            prompt_ids=prompt_ids,
            end_token_id=self._id_of(found.end),
            notes=notes,
        )

    def _prompt_ids(self, found: AssistantTurns, ids: list[int], places: list[Place]) -> list[int]:
        # Tokenizers cut a text at special tokens and encode the pieces by themselves: where the conversation begins with the
        # prompt, up to its last special token the tokens are the conversation's.
        start = self._renderer.last_start(found.prompt) if found.text.startswith(found.prompt) else -1
        number = bisect_left(places, start, key=lambda place: place[0]) if start >= 0 else len(ids)
        if number < len(ids) and places[number][0] == start:
            rest = token_ids(self._tokenizer, found.prompt[start:])
            if rest[:1] == ids[number : number + 1]:
                return ids[:number] + rest
        return token_ids(self._tokenizer, found.prompt)

    def _plain_text(self, example: Example) -> EncodedExample:
        # As a text of pre-training: begun as the tokenizer begins texts, and ended by the end of text.
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
    """Examples that have something to learn, and those that were left out."""

    examples: list[EncodedExample]
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def num_truncated(self) -> int:
        """Cut to the maximal length; those of them with tokens left to learn are in ``examples``."""
        return sum(row.is_cut for row in self.examples) + sum(row.is_cut for row in self.left_out)

    @property
    def num_empty(self) -> int:
        """Left out: no assistant token within the maximal length."""
        return sum(row.reason in {"empty", "cut"} for row in self.left_out)

    @property
    def counts(self) -> dict[str, int]:
        """Examples by what happened to them: cut, left out by reason, or with something to be said of them."""
        reasons = [row.reason for row in self.left_out if row.reason not in {"empty", "cut"}]
        notes = [note for row in self.examples for note in row.notes]
        return {"truncated": self.num_truncated, "empty": self.num_empty} | dict(Counter([*reasons, *notes]))

    def require_template(self) -> None:
        """Refuse a template under which nothing is left.

        Raises:
            ChatTemplateError: All examples are left out, and the first of them by the template; the message names it.
        """
        if self.left_out and not self.examples and self.left_out[0].reason in _OF_TEMPLATE:
            first = self.left_out[0]
            raise ChatTemplateError(f"{first.example.source}: {first.words}", reason=first.reason)


def encode_chat(
    tokenizer: Any, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] = (), style: ChatStyle = _PLAIN
) -> tuple[list[int], list[bool], list[int]]:
    """Tokens of a conversation, and which of them the assistant wrote.

    The text that the template renders is encoded once, so that the ids are those of the tokenizer's own
    ``apply_chat_template``; see `drpt.data.assistant_turns` for what is learned.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        messages: The turns; the last is the assistant's, and has a text.
        tools: JSON schemas of functions that the assistant may call.
        style: The date and options that the template is told.

    Returns:
        Token ids, the loss mask of the same length (its first entry is False: nothing predicts the first token), and the
        ids that generation is given to answer the last turn.

    Raises:
        ChatTemplateError: The template refuses the turns, does not write them, or the assistant's tokens cannot be told apart.
    """
    example = Example(messages=tuple(messages), source="", tools=tuple(tools))
    row = ChatEncoder(tokenizer, max_length=0, style=style)._conversation(example)
    return row.token_ids, row.loss_mask, row.prompt_ids


def encode_examples(tokenizer: Any, examples: Iterable[Example], *, max_length: int, style: ChatStyle = _PLAIN) -> EncodedPool:
    """Encode a pool, cutting conversations at ``max_length`` tokens.

    Args:
        tokenizer: Tokenizer of transformers that has a chat template.
        examples: Conversations.
        max_length: Most tokens of a conversation; more are cut off at the end.
        style: The date and options that the template is told.

    Returns:
        The examples that still have an assistant token to learn, and the others with the reason.

    Raises:
        ChatTemplateError: The template can be used for none of the examples; the message names the first.
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
