"""Locates the assistant's text by comparing renderings: a turn is what the template adds to the generation prompt."""

from dataclasses import dataclass
from itertools import product

from drpt.data.assistant_turns import CALLS_LOST, CHANGED, AssistantTurns, common_start, excerpt
from drpt.data.conversation import Conversation
from drpt.models.chat_renderer import ChatTemplateError

NO_CALLS = (
    "the chat template does not write tool calls, so the model would learn to end the turn without them. Use a template that "
    "writes tool calls, or data without them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPlace:
    """Character positions of one assistant turn."""

    start: int  # start of the learned text
    own_stop: int  # end of the assistant's own text, before the end of the turn
    stop: int  # end of the learned text, after the end of the turn
    first_stop: int  # end of the first special token that ends the turn
    end: str  # that special token; empty if there is none


def place_last(talk: Conversation, place: int, text: str, prompt: str) -> TurnPlace:
    """Locate an assistant turn in a text that ends with it.

    Text that the template writes between the generation prompt and every answer is not part of the turn, unless it is only
    white space, which is generated as well. The turn ends with the first special token after the assistant's own text, or
    without one, with the text that the template writes after every answer.

    Args:
        talk: The conversation.
        place: Index of the turn.
        text: Rendering of the turns up to and including this one.
        prompt: Generation prompt for the turn.

    Returns:
        Positions of the turn.

    Raises:
        ChatTemplateError: The template does not write the turn, or its text cannot be identified.
    """
    message = talk.messages[place]
    if text.startswith(prompt) and not message.tool_calls:
        content, start = message.content.strip(), _skip_space(text, len(prompt))
        if content and text.startswith(content, start):  # the usual case, without any text in between
            return _ended(talk, text, len(prompt), start + len(content))
    before, after = talk.with_answer(place, text)
    start = _start(talk, place, text, prompt, before)
    if text.endswith(after) and len(text) - len(after) >= start:
        found = _ended(talk, text, start, len(text) - len(after))
    else:  # the turn ends differently from one with a plain answer
        stop = len(text.rstrip())
        token = talk.renderer.last_special(text[start:stop])
        found = TurnPlace(start=start, own_stop=stop - len(token), stop=stop, first_stop=stop, end=token)
    if message.tool_calls and not talk.writes_calls(place):
        raise ChatTemplateError(NO_CALLS, reason="tool_calls")
    if message.has_text and not text[found.start : found.own_stop].strip():
        said = excerpt(message.content or message.reasoning_content or "")
        raise ChatTemplateError(
            f"the chat template does not write the assistant's {said}. Use another template (model.chat_template=plain).",
            reason="ambiguous",
        )
    return found


def place_earlier(talk: Conversation, place: int, found: AssistantTurns) -> TurnPlace | None:
    """Locate an earlier assistant turn, which is learned only if it is rendered as it would have been generated.

    Args:
        talk: The conversation.
        place: Index of the turn.
        found: Whole text and end of the last turn; a note is added if the turn is not learned.

    Returns:
        Positions of the turn; None if later turns change the rendering of the turn or of the text before it.
    """
    try:
        turn = _find_earlier(talk, place, found)
    except ChatTemplateError as error:  # the template may also refuse a conversation that ends here
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
            if found.text.startswith(found.ending, stop):  # it ends like the last turn, so no other rendering is needed
                stop += len(found.ending)
                return TurnPlace(start=len(prompt), own_stop=own_stop, stop=stop, first_stop=stop, end=found.end)
        text = talk.text(place + 1)
        own = place_last(talk, place, text, prompt)
        # Try with and without the text that the template writes only before and after the last answer.
        for begin, stop in product((own.start, len(prompt)), (own.stop, own.first_stop)):
            learned = text[own.start : stop]
            if text[:begin] == found.text[:begin] and found.text.startswith(learned, begin):
                own_stop, stop = begin + own.own_stop - own.start, begin + len(learned)
                return TurnPlace(start=begin, own_stop=own_stop, stop=stop, first_stop=stop, end=own.end)
    return None


def _start(talk: Conversation, place: int, text: str, prompt: str, before: str) -> int:
    """Start of the assistant's own text; ``before`` is the text before a plain answer."""
    if text.startswith(before):
        is_space = before.startswith(prompt) and not before[len(prompt) :].strip()
        return len(prompt) if is_space else len(before)
    if text.startswith(prompt):
        return len(prompt)
    # The generation prompt ends with text that is not in the conversation, such as an opening <think>.
    history = len(talk.text(place).rstrip()) if place else 0
    common = common_start(prompt, text)
    if common < history:
        raise ChatTemplateError(
            "the chat template renders the turns before an answer differently when the answer follows, so the assistant's "
            "tokens cannot be identified. Use another template (model.chat_template=plain), or one with {% generation %} "
            "markers.",
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
