"""The assistant's text as a chat template marks it, by ``{% generation %}``."""

from itertools import pairwise

from drpt.data.assistant_turns import CALLS_LOST, PROMPT_DIFFERS, UNENDED, AssistantTurns, difference
from drpt.data.conversation import Conversation
from drpt.data.turn_differences import NO_CALLS
from drpt.models.chat_renderer import ChatTemplateError


def read_markers(talk: Conversation, found: AssistantTurns, end: str) -> bool:
    """Take what the template marks as what is learned; the marks are the word of whoever wrote the template.

    Args:
        talk: The conversation.
        found: Its text and generation prompt; what is learned, its end and notes are added.
        end: The special token that ends an answer; empty where there is none.

    Returns:
        Whether there are marks: a template may have them for some conversations alone.

    Raises:
        ChatTemplateError: The marks are not around the last turn's text, its tool calls are not written, or turns that are
            not to be learned cannot be told from the others.
    """
    text, marked = talk.marked()
    marked = [(start, stop) for start, stop in marked if start < stop]
    if not marked:
        return False
    turns = [(place, message) for place, message in enumerate(talk.messages) if message.role == "assistant"]
    last_place, last = turns[-1]
    if last.is_learned and last.tool_calls and not talk.writes_calls(last_place):
        raise ChatTemplateError(NO_CALLS, reason="tool_calls")
    written = "".join(text[start:stop] for start, stop in marked)
    content = last.content.strip()
    is_inside = (
        content in written or content.rpartition("</think>")[2].strip() in written or not talk.writes_content(last_place)
    )
    if text != found.text or any(one[1] > other[0] for one, other in pairwise(marked)) or not is_inside:
        raise ChatTemplateError(
            "the {% generation %} markers of the chat template do not enclose the assistant's text (they must stand around "
            "what is printed, not inside a {% set %} or a macro). Mend the template, or take the markers out of it.",
            reason="ambiguous",
        )
    if talk.marks_others(written):
        raise ChatTemplateError(
            "the {% generation %} markers of the chat template enclose what others than the assistant say, which would be "
            "learned. Mend the template, or take the markers out of it.",
            reason="ambiguous",
        )
    found.learned = _without_unlearned(talk, found, marked)
    found.end = end
    # The last turn's marks: a template may mark a turn and what ends it apart.
    of_last = [(start, stop) for start, stop in marked if stop > len(found.prompt)] or marked[-1:]
    if not end or all(end not in text[start:stop] for start, stop in of_last):
        # Another token may end a turn that calls tools.
        found.end = talk.renderer.last_special(text[slice(*of_last[-1])].rstrip())
        if not found.end:
            found.end = end
            found.notes[UNENDED] = ""
    start = of_last[0][0]
    if not text.startswith(found.prompt) or text[len(found.prompt) : start].strip():
        found.notes[PROMPT_DIFFERS] = difference(found.prompt, text[:start])
    return True


def _without_unlearned(talk: Conversation, found: AssistantTurns, marked: list[tuple[int, int]]) -> list[tuple[int, int]]:
    turns = [place for place, message in enumerate(talk.messages) if message.role == "assistant"]
    # Of a turn that says nothing, or nothing that is written, the marks hold a bare end.
    unlearned = {place for place in turns if not talk.messages[place].is_learned or not _says_something(talk, place)}
    lost = {place for place in turns[:-1] if talk.messages[place].tool_calls and not talk.writes_calls(place)} - unlearned
    if lost:
        found.notes[CALLS_LOST] = ""
    if not unlearned | lost:
        return marked
    return [
        where for where, turn in zip(marked, _turns_of(talk, found, marked, turns), strict=True) if turn not in unlearned | lost
    ]


def _says_something(talk: Conversation, place: int) -> bool:
    message = talk.messages[place]
    return bool(message.content.strip() or message.tool_calls) or (message.has_text and talk.writes_thoughts(place))


def _turns_of(talk: Conversation, found: AssistantTurns, marked: list[tuple[int, int]], turns: list[int]) -> list[int]:
    """The turn that each marked text belongs to."""
    if len(marked) == len(turns):
        return turns
    prompts = [talk.text(turn, is_prompt=True) if turn else "" for turn in turns]
    if all(found.text.startswith(prompt) for prompt in prompts):
        # The last turn whose answer begins before the text ends: what belongs to the next prompt is marked with no answer.
        found_turns = [[turn for turn, p in zip(turns, prompts, strict=True) if stop > len(p) or not p] for _, stop in marked]
        if all(found_turns):
            return [max(places) for places in found_turns]
    raise ChatTemplateError(
        f"the chat template marks {len(marked)} texts of {len(turns)} assistant turns, so that the turns that are not learned "
        '("weight": 0, or empty) cannot be told apart. Take a template with one {% generation %} block a turn.',
        reason="ambiguous",
    )
