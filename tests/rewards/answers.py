"""Answers to one example, for tests."""

from drpt.data.example import Example, Message
from drpt.rewards.reward import Answer


def answer(text, reference="8", *, source="sums.jsonl:3", payload=None, is_finished=True):
    messages = (Message(role="user", content="?"), Message(role="assistant", content=reference))
    example = Example(messages=messages, source=source, payload=payload or {})
    return Answer(example=example, text=text, is_finished=is_finished, num_tokens=3)


def outcomes(term, *answers):
    return [verdict.outcome for verdict in term(list(answers))]
