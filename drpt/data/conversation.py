"""Renders parts and variants of one conversation, from which `drpt.data.find_turns` locates the assistant's text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from drpt.data.example import Message
from drpt.models.chat_renderer import PROBE, ChatRenderer, ChatTemplateError

_TELLING = 12  # a text of at least this many characters does not occur in a rendering by chance


class Conversation:
    """Renders the turns of an example in the form that its template reads.

    Arguments of tool calls are a mapping, as transformers documents it, or JSON text if the template fails with a mapping.
    Developer turns become system turns if the template does not mention the role. Reasoning has the name under which the
    template reads it. Contents are lists with one part if the template accepts only lists.

    Args:
        renderer: Renderer of the chat template.
        messages: Turns of the conversation; the last is the assistant's.
        tools: JSON schemas of functions. Any: JSON values.

    Raises:
        ChatTemplateError: The template refuses the turns.
    """

    def __init__(self, renderer: ChatRenderer, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self.renderer = renderer
        self.messages = tuple(messages)
        self._tools = tools
        self._arguments_are_text = False
        try:
            has_developer = any(message.role == "developer" for message in messages)
            self.has_replaced_developer = has_developer and not renderer.names_role("developer", tools)
            thinks = any(message.reasoning_content is not None for message in messages)
            self._thoughts = renderer.thoughts_key(tools) if thinks else None
            self._has_parts = renderer.wants_parts(tools)
        except Exception as error:  # for example, a tokenizer without a template for tools
            raise self._refusal(error) from error
        self._turns = [self._turn(message) for message in self.messages]
        if any(message.tool_calls for message in messages):
            self._settle_arguments()

    @property
    def has_markers(self) -> bool:
        """Whether the template marks the assistant's text with ``{% generation %}``."""
        return self.renderer.has_markers(self._tools)

    def text(self, count: int | None = None, *, is_prompt: bool = False) -> str:
        """Render the first turns.

        Args:
            count: Number of turns; all if left out.
            is_prompt: Whether to end with a generation prompt.

        Returns:
            The rendered text.

        Raises:
            ChatTemplateError: The template refuses the turns.
        """
        return self._render(self._turns[:count], is_prompt=is_prompt)

    def prompt(self, place: int) -> str:
        """Generation prompt for a turn."""
        # Templates cannot render a prompt without turns; the text before any answer is the same.
        return self.text(place, is_prompt=True) if place else self.with_answer(0, "")[0]

    def with_answer(self, place: int, avoid: str) -> tuple[str, str]:
        """Render the conversation with a placeholder as the answer, to find the text around an answer.

        Args:
            place: Index of the assistant's turn to replace; later turns are left out.
            avoid: Text that must not contain the placeholder.

        Returns:
            The text before the answer, including all earlier turns, and the text after it.

        Raises:
            ChatTemplateError: The template refuses the turns, or does not write the answer exactly once.
        """
        answer = PROBE
        while answer in avoid:
            answer += "q"
        plain = self._turn(Message(role="assistant", content=answer))
        text = self._render([*self._turns[:place], plain], is_prompt=False)
        parts = text.split(answer)
        if len(parts) != 2:
            raise ChatTemplateError(
                f"the chat template writes an assistant turn {len(parts) - 1} times, so the assistant's text cannot be "
                "identified. Use another template (model.chat_template=plain).",
                reason="ambiguous",
            )
        return parts[0], parts[1]

    def writes_thoughts(self, place: int) -> bool:
        """Whether the template writes the reasoning of a turn, in its own field or within the content."""
        message = self.messages[place]
        inside, marker, rest = message.content.partition("</think>")
        opened, tag, thought = inside.rpartition("<think>")
        others = []
        if (message.reasoning_content or "").strip():
            others.append(replace(message, reasoning_content=PROBE))
        if marker and thought.strip():
            others.append(replace(message, content=f"{opened}{tag}{PROBE}{marker}{rest}"))
        turns = self._turns
        return all(
            PROBE in self._render([*turns[:place], self._turn(other), *turns[place + 1 :]], is_prompt=False) for other in others
        )

    def writes_calls(self, place: int) -> bool:
        """Whether the template writes the tool calls of a turn: the names of the functions, and a text that depends on them."""
        text = self.text(place + 1)
        names = [call.name for call in self.messages[place].tool_calls]
        bare = {key: value for key, value in self._turns[place].items() if key != "tool_calls"}
        try:
            is_other = self._render([*self._turns[:place], bare], is_prompt=False) != text
        except ChatTemplateError:
            is_other = True
        return is_other and all(name in text for name in names)

    def writes_content(self, place: int) -> bool:
        """Whether the template writes the content of a turn that has tool calls."""
        message = self.messages[place]
        if not (message.tool_calls and message.content.strip()):
            return True
        return self._depends_on(self._turns, place, self.text())

    def unwritten(self, prompt: str) -> Message | None:
        """Find a turn before the last, not the assistant's, that the template omits, such as the result of a tool.

        Args:
            prompt: Generation prompt for the last turn.

        Returns:
            The first omitted turn; None if all are written, possibly changed.
        """
        turns, place_in_prompt = self._turns[:-1], 0
        written = {"user"}  # roles that the template is known to write; other turns may repeat the result of a tool
        for place, message in enumerate(self.messages[:-1]):
            content = message.content.strip()
            if message.role == "assistant" or not content:
                continue
            start = prompt.find(content, place_in_prompt)
            if start >= 0 and (message.role in written or (message.role != "tool" and len(content) >= _TELLING)):
                place_in_prompt = start + len(content)
            elif not self._depends_on(turns, place, prompt, is_prompt=True):
                return message
            written.add(message.role)
        return None

    def _depends_on(self, turns: Sequence[dict[str, Any]], place: int, text: str, *, is_prompt: bool = False) -> bool:
        """Whether the rendering changes if the content of a turn changes."""
        other = self._turn(replace(self.messages[place], content=PROBE))
        try:
            return self._render([*turns[:place], other, *turns[place + 1 :]], is_prompt=is_prompt) != text
        except ChatTemplateError:  # the template reads the content
            return True

    def marked(self) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the ranges that the template marks as the assistant's; see `ChatRenderer.render_marked`."""
        try:
            return self.renderer.render_marked(self._turns, self._tools)
        except Exception as error:  # templates raise errors of any type
            raise self._refusal(error) from error

    def marks_others(self, marked: str) -> bool:
        """Whether the template marks text of roles other than the assistant.

        Args:
            marked: All marked text.

        Returns:
            True if it does.
        """
        others = [message.role != "assistant" and bool(message.content.strip()) for message in self.messages]
        contents = [message.content.strip() for message, is_other in zip(self.messages, others, strict=True) if is_other]
        if not any(text in marked for text in contents):
            return False  # otherwise the assistant may have repeated the text, which the placeholders below reveal
        turns = [
            self._turn(replace(message, content=PROBE)) if is_other else turn
            for message, turn, is_other in zip(self.messages, self._turns, others, strict=True)
        ]
        try:
            text, places = self.renderer.render_marked(turns, self._tools)
        except Exception:  # the template parses the contents, so it does not write them literally
            return False
        return any(PROBE in text[start:stop] for start, stop in places)

    def _render(self, turns: Sequence[Mapping[str, Any]], *, is_prompt: bool) -> str:
        try:
            return self.renderer.render(turns, self._tools, is_prompt=is_prompt)
        except Exception as error:  # templates raise errors of any type
            raise self._refusal(error) from error

    def _settle_arguments(self) -> None:
        try:
            self.renderer.render(self._turns, self._tools, is_prompt=False)
        except Exception:  # the template may accept arguments only as text
            with_mappings = self._turns
            self._arguments_are_text = True
            self._turns = [self._turn(message) for message in self.messages]
            try:
                self.renderer.render(self._turns, self._tools, is_prompt=False)
            except Exception:  # keep the usual form, so that the user sees the error for it
                self._turns = with_mappings

    def _turn(self, message: Message) -> dict[str, Any]:
        if message.role == "developer" and self.has_replaced_developer:
            message = replace(message, role="system")
        turn = message.as_template_turn()
        if self._has_parts:
            turn["content"] = [{"type": "text", "text": message.content}]
        if self._thoughts is not None and "reasoning_content" in turn:
            turn[self._thoughts] = turn.pop("reasoning_content")
        if self._arguments_are_text and message.tool_calls:
            for call in turn["tool_calls"]:
                arguments = call["function"]["arguments"]
                if not isinstance(arguments, str):
                    call["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False)
        return turn

    def _refusal(self, error: Exception) -> ChatTemplateError:
        roles = [message.role for message in self.messages]
        return ChatTemplateError(f"the chat template refuses the roles {roles}: {error}")
