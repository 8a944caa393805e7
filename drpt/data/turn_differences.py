"""The assistant's text as differences of renderings: what a template adds to the generation prompt of the turns before."""

from dataclasses import dataclass
from itertools import product

from drpt.data.assistant_turns import CALLS_LOST, CHANGED, AssistantTurns, common_start, excerpt
from drpt.data.conversation import Conversation
from drpt.models.chat_renderer import ChatTemplateError

NO_CALLS = (
    "the chat template does not write tool calls, and a turn without them would teach to end it. Take a template that writes "
    "tool calls, or data without them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPlace:
    """Characters of one turn."""

    start: int  # of what is learned
    own_stop: int  # of the assistant's own text, before what ends the turn
    stop: int  # of what is learned: after what ends the turn
    first_stop: int  # after the first of several special tokens that end it
    end: str  # that token; empty where there is none


def place_last(talk: Conversation, place: int, text: str, prompt: str) -> TurnPlace:
    """Where an assistant turn stands in a text that ends with it.

    What the template writes between the generation prompt and the assistant's own text, whatever that is, does not belong to
    it; white space alone does: generation begins with it, too. The turn ends with the first special token after its own
    text, or, without one, with what the template writes after any answer.

    Args:
        talk: The conversation.
        place: Of the turn.
        text: Of the turns up to this one.
        prompt: For the turns before.

    Returns:
        The place.

    Raises:
        ChatTemplateError: The template does not write the turn, or its text cannot be told apart.
    """
    message = talk.messages[place]
    if text.startswith(prompt) and not message.tool_calls:
        content, start = message.content.strip(), _skip_space(text, len(prompt))
        if content and text.startswith(content, start):  # of most templates: no other text to be told apart
            return _ended(talk, text, len(prompt), start + len(content))
    before, after = talk.with_answer(place, text)
    start = _start(talk, place, text, prompt, before)
    if text.endswith(after) and len(text) - len(after) >= start:
        found = _ended(talk, text, start, len(text) - len(after))
    else:  # the turn ends otherwise than one with a plain answer
        stop = len(text.rstrip())
        token = talk.renderer.last_special(text[start:stop])
        found = TurnPlace(start=start, own_stop=stop - len(token), stop=stop, first_stop=stop, end=token)
    if message.tool_calls and not talk.writes_calls(place):
        raise ChatTemplateError(NO_CALLS, reason="tool_calls")
    if message.has_text and not text[found.start : found.own_stop].strip():
        said = excerpt(message.content or message.reasoning_content or "")
        raise ChatTemplateError(
            f"the chat template writes nothing of the assistant's {said}. Take another template (model.chat_template=plain).",
            reason="ambiguous",
        )
    return found


def place_earlier(talk: Conversation, place: int, found: AssistantTurns) -> TurnPlace | None:
    """Where an earlier assistant turn is learned: where it stands as generation would have had to write it.

    Args:
        talk: The conversation.
        place: Of the turn.
        found: The whole text, and what ends the last turn; a turn that is not learned is noted.

    Returns:
        The place; None where the template changes the turn or what stands before it once other turns follow.
    """
    try:
        turn = _find_earlier(talk, place, found)
    except ChatTemplateError as error:  # also of a template that takes the turns up to here with what follows alone
        found.notes[CALLS_LOST if error.reason == "tool_calls" else CHANGED] = excerpt(talk.messages[place].content)
        return None
    if turn is None:
        found.notes[CHANGED] = excerpt(talk.messages[place].content)
    return turn


def _find_earlier(talk: Conversation, place: int, found: AssistantTurns) -> TurnPlace | None:
    message, prompt = talk.messages[place], talk.prompt(place)
    if found.text.startswith(prompt):
        content, start = message.content.strip(), _skip_space(found.text, len(prompt))
        is_plain = content and not message.tool_calls and message.reasoning_content is None and "</think>" not in content
        if is_plain and found.ending and found.text.startswith(content, start):
            own_stop = start + len(content)
            stop = _skip_space(found.text, own_stop)
            if found.text.startswith(found.ending, stop):  # as after the last turn: nothing else needs to be rendered
                stop += len(found.ending)
                return TurnPlace(start=len(prompt), own_stop=own_stop, stop=stop, first_stop=stop, end=found.end)
        text = talk.text(place + 1)
        own = place_last(talk, place, text, prompt)
        # With and without what the template writes before and after the last answer alone.
        for begin, stop in product((own.start, len(prompt)), (own.stop, own.first_stop)):
            learned = text[own.start : stop]
            if text[:begin] == found.text[:begin] and found.text.startswith(learned, begin):
                own_stop, stop = begin + own.own_stop - own.start, begin + len(learned)
                return TurnPlace(start=begin, own_stop=own_stop, stop=stop, first_stop=stop, end=own.end)
    return None


def _start(talk: Conversation, place: int, text: str, prompt: str, before: str) -> int:
    """Where the assistant's own text begins; ``before`` is what stands before a plain answer."""
    if text.startswith(before):
        is_space = before.startswith(prompt) and not before[len(prompt) :].strip()
        return len(prompt) if is_space else len(before)
    if text.startswith(prompt):
        return len(prompt)
    # The generation prompt has something of its own at its end, such as an opened <think>.
    history = len(talk.text(place).rstrip()) if place else 0
    common = common_start(prompt, text)
    if common < history:
        raise ChatTemplateError(
            "the chat template changes the turns before an answer when the answer is there, so that the assistant's tokens "
            "cannot be told apart. Take another template (model.chat_template=plain), or one with {% generation %} markers.",
            reason="ambiguous",
        )
    message = talk.messages[place]
    own = [text.find(piece, history) for piece in ((message.reasoning_content or "").strip(), message.content.strip()) if piece]
    return min([common, *(start for start in own if start >= 0)])


def _ended(talk: Conversation, text: str, start: int, own_stop: int) -> TurnPlace:
    end = talk.renderer.end_of_turn(text[own_stop:])
    stop, first_stop = own_stop + end.length, own_stop + end.first_length
    return TurnPlace(start=start, own_stop=own_stop, stop=stop, first_stop=first_stop, end=end.token)


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
