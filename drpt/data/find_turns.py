"""Which text of a rendered conversation the assistant wrote: what is learned, and what generation is given before it.

A template may mark the assistant's text itself (``{% generation %}``): then its marks hold. Otherwise renderings are compared:
a turn is what the template adds to the generation prompt of the turns before, up to the special token that ends it. Text that
it writes between the two whatever the answer is (an empty ``<think></think>``) is in the conversation, and is not learned.
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
    """Find what is learned of a conversation.

    Args:
        talk: Its last turn is the assistant's. Of an empty one, what ends it is found, by which the end of answers is known.

    Returns:
        The places, and what has to be said.

    Raises:
        ChatTemplateError: The template refuses the turns, does not write the last one or one that it answers, or the
            assistant's text cannot be told apart.
    """
    last = len(talk.messages) - 1
    found = AssistantTurns(text=talk.text(), prompt=talk.prompt(last))
    require_written(talk, found.prompt)
    if not talk.messages[last].has_text and not found.text.startswith(found.prompt):
        found.text = found.prompt  # some templates write nothing of an empty turn; the prompt is all there is
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
    """Refuse a template that leaves out what is answered: the answer would be learned, or asked for, without it.

    Args:
        talk: The conversation.
        prompt: What generation is given to answer the last turn.

    Raises:
        ChatTemplateError: A turn of the user, the system or a tool is not written.
    """
    turn = talk.unwritten(prompt)
    if turn is not None:
        raise ChatTemplateError(
            f"the chat template does not write the turn of the role {turn.role!r}, {excerpt(turn.content)}, and what answers "
            "it would be learned without it. Take a template that writes such turns, or data without them.",
            reason="unwritten",
        )


def generation_prompt(talk: Conversation) -> tuple[str, str]:
    """What generation is given to answer the last turn, and the special token that ends an answer.

    Args:
        talk: Its last turn is the assistant's; what it says does not matter.

    Returns:
        The text, and the token, which is empty where the template has none.

    Raises:
        ChatTemplateError: The template refuses the turns.
    """
    last = len(talk.messages) - 1
    prompt = talk.prompt(last)
    try:
        return prompt, talk.renderer.end_of_turn(talk.with_answer(last, prompt)[1]).token
    except ChatTemplateError:  # the prompt is all that is needed
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
