"""Locates the assistant's text by the ``{% generation %}`` markers of a chat template."""

from itertools import pairwise

from drpt.data.assistant_turns import CALLS_LOST, PROMPT_DIFFERS, UNENDED, AssistantTurns, difference
from drpt.data.conversation import Conversation
from drpt.data.turn_differences import NO_CALLS
from drpt.models.chat_renderer import ChatTemplateError


def read_markers(talk: Conversation, found: AssistantTurns, end: str) -> bool:
    """Use the marked text as the learned text.

    Args:
        talk: The conversation.
        found: Text and generation prompt of the conversation; the learned ranges, the end token and notes are added.
        end: Special token that ends an answer; empty if there is none.

    Returns:
        Whether there is marked text, since a template may have markers only for some conversations.

    Raises:
        ChatTemplateError: The markers do not enclose the last turn's text, its tool calls are not written, or turns that are
            not learned cannot be distinguished.
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
            "the {% generation %} markers of the chat template do not enclose the assistant's text (they must enclose printed "
            "text, and not be inside a {% set %} or a macro). Correct the template, or remove the markers.",
            reason="ambiguous",
        )
    if talk.marks_others(written):
        raise ChatTemplateError(
            "the {% generation %} markers of the chat template enclose text of other roles than the assistant, which would be "
            "learned. Correct the template, or remove the markers.",
            reason="ambiguous",
        )
    found.learned = _without_unlearned(talk, found, marked)
    found.end = end
    # Marked ranges of the last turn: a template may mark a turn and its end separately.
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
    """Index of the turn to which each marked range belongs."""
    if len(marked) == len(turns):
        return turns
    prompts = [talk.text(turn, is_prompt=True) if turn else "" for turn in turns]
    if all(found.text.startswith(prompt) for prompt in prompts):
        # A range belongs to the last turn whose answer begins before the end of the range.
        found_turns = [[turn for turn, p in zip(turns, prompts, strict=True) if stop > len(p) or not p] for _, stop in marked]
        if all(found_turns):
            return [max(places) for places in found_turns]
    raise ChatTemplateError(
        f"the chat template marks {len(marked)} texts for {len(turns)} assistant turns, so the turns that are not learned "
        '("weight": 0, or empty) cannot be identified. Use a template with one {% generation %} block per turn.',
        reason="ambiguous",
    )
