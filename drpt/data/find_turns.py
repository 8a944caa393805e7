"""Locates the assistant's text in a rendered conversation: the text to learn, and the generation prompt before it.

If the template marks the assistant's text with ``{% generation %}``, its markers decide. Otherwise renderings are compared: a
turn is the text that the template adds to the generation prompt of the preceding turns, up to the special token that ends it.
Text that the template writes in front of every answer, such as an empty ``<think></think>``, is not learned.
"""

from drpt.data.assistant_turns import (
    CONTENT_LOST,
    DEVELOPER,
    PROMPT_DIFFERS,
    THOUGHTS_LOST,
    UNENDED,
    AssistantTurns,
    difference,
    excerpt,
)
from drpt.data.conversation import Conversation
from drpt.data.turn_differences import NO_CALLS, place_earlier, place_last
from drpt.data.turn_markers import read_markers
from drpt.models.chat_renderer import ChatTemplateError


def find_assistant_turns(talk: Conversation) -> AssistantTurns:
    """Find the text of a conversation that is learned.

    Args:
        talk: Conversation whose last turn is the assistant's; if that turn is empty, only the token that ends answers is found.

    Returns:
        Positions of the assistant's text, and notes for the user.

    Raises:
        ChatTemplateError: The template refuses the turns, does not write the last turn or one that it answers, or the
            assistant's text cannot be identified.
    """
    last = len(talk.messages) - 1
    found = AssistantTurns(text=talk.text(), prompt=talk.prompt(last))
    require_written(talk, found.prompt)
    if not talk.messages[last].has_text and not found.text.startswith(found.prompt):
        found.text = found.prompt  # some templates write nothing for an empty turn, so the text is only the prompt
    if talk.has_replaced_developer:
        found.notes[DEVELOPER] = ""
    is_marked = talk.has_markers and talk.messages[last].has_text
    if not (is_marked and read_markers(talk, found, generation_prompt(talk)[1])):
        _compare(talk, last, found)
    places = [place for place, message in enumerate(talk.messages) if message.role == "assistant"]
    if not all(map(talk.writes_thoughts, places)):
        found.notes[THOUGHTS_LOST] = ""
    lost = [talk.messages[place].content for place in places if not talk.writes_content(place)]
    if lost:
        found.notes[CONTENT_LOST] = excerpt(lost[0])
    return found


def require_written(talk: Conversation, prompt: str) -> None:
    """Refuse a template that omits a turn on which the answer depends.

    Args:
        talk: The conversation.
        prompt: Generation prompt for the last turn.

    Raises:
        ChatTemplateError: A turn of the user, the system or a tool is not written.
    """
    turn = talk.unwritten(prompt)
    if turn is not None:
        raise ChatTemplateError(
            f"the chat template does not write the turn of the role {turn.role!r}, {excerpt(turn.content)}, so its answer "
            "would be learned without it. Use a template that writes such turns, or data without them.",
            reason="unwritten",
        )


def generation_prompt(talk: Conversation) -> tuple[str, str]:
    """Generation prompt for the last turn, and the special token that ends an answer.

    Args:
        talk: Conversation whose last turn is the assistant's; its content is ignored.

    Returns:
        Prompt, and end token, which is empty if the template has none.

    Raises:
        ChatTemplateError: The template refuses the turns.
    """
    last = len(talk.messages) - 1
    prompt = talk.prompt(last)
    try:
        return prompt, talk.renderer.end_of_turn(talk.with_answer(last, prompt)[1]).token
    except ChatTemplateError:  # the end token is optional
        return prompt, ""


def _compare(talk: Conversation, last: int, found: AssistantTurns) -> None:
    if talk.messages[last].is_learned and talk.messages[last].tool_calls and found.text == found.prompt:
        raise ChatTemplateError(NO_CALLS, reason="tool_calls")
    is_there = talk.messages[last].is_learned and found.text != found.prompt
    place = place_last(talk, last, found.text, found.prompt) if is_there else None
    found.end = generation_prompt(talk)[1] if place is None else place.end
    found.ending = "" if place is None else found.text[place.own_stop : place.stop].strip()
    if not found.end:
        found.notes[UNENDED] = ""
    for earlier in range(last):
        message = talk.messages[earlier]
        if message.role == "assistant" and message.is_learned and message.has_text:
            turn = place_earlier(talk, earlier, found)
            found.learned += [] if turn is None else [(turn.start, turn.stop)]
    if place is not None:
        found.learned.append((place.start, place.stop))
        if not found.text.startswith(found.prompt) or found.text[len(found.prompt) : place.start].strip():
            found.notes[PROMPT_DIFFERS] = difference(found.prompt, found.text[: place.start])
