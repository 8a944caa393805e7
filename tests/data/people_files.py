"""Files as people of this field have them: each with what is to be read of it, or what is to be said of it."""

import gzip
import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file."""

    label: str
    name: str  # of the file
    content: bytes
    turns: tuple[tuple[str, str], ...] = ()  # role and content of the turns of its first row
    error: str = ""  # a pattern of what is said instead


def line(record):
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


ASK, SAY = "Who wrote Emma?", "Jane Austen."
PAIR = (("user", ASK), ("assistant", SAY))
USER, ASSISTANT = {"role": "user", "content": ASK}, {"role": "assistant", "content": SAY}
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": {"title": "Emma"}}}
HUMAN, GPT = {"from": "human", "value": ASK}, {"from": "gpt", "value": SAY}
ROW = line({"prompt": ASK, "response": SAY})

GOOD = (
    Written(label="messages", name="a.jsonl", content=line({"messages": [USER, ASSISTANT]}), turns=PAIR),
    Written(
        label="messages beside a prompt, as UltraChat",
        name="a.jsonl",
        content=line({"prompt": "other", "prompt_id": "x", "messages": [USER, ASSISTANT]}),
        turns=PAIR,
    ),
    Written(label="prompt and response", name="a.jsonl", content=ROW, turns=PAIR),
    Written(label="ShareGPT", name="a.jsonl", content=line({"id": "1", "conversations": [HUMAN, GPT]}), turns=PAIR),
    Written(
        label="ShareGPT with a system prompt beside",
        name="a.jsonl",
        content=line({"system": "Be brief.", "conversations": [HUMAN, GPT]}),
        turns=(("system", "Be brief."), *PAIR),
    ),
    Written(
        label="ShareGPT with OpenAI's keys", name="a.jsonl", content=line({"conversations": [USER, ASSISTANT]}), turns=PAIR
    ),
    Written(
        label="ShareGPT with a function's call",
        name="a.jsonl",
        content=line(
            {
                "conversations": [
                    HUMAN,
                    {"from": "function_call", "value": '{"name": "find", "arguments": {"title": "Emma"}}'},
                    {"from": "observation", "value": "Austen"},
                    GPT,
                ]
            }
        ),
        turns=(PAIR[0], ("assistant", ""), ("tool", "Austen"), PAIR[1]),
    ),
    Written(
        label="content in text parts",
        name="a.jsonl",
        content=line(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Who "}, {"type": "text", "text": "wrote Emma?"}]},
                    ASSISTANT,
                ]
            }
        ),
        turns=PAIR,
    ),
    Written(
        label="tool calls and a tool's answer",
        name="a.jsonl",
        content=line(
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "Austen"},
                    ASSISTANT,
                ],
                "tools": [{"type": "function", "function": {"name": "find", "parameters": {}}}],
            }
        ),
        turns=(PAIR[0], ("assistant", ""), ("tool", "Austen"), PAIR[1]),
    ),
    Written(
        label="a developer's turn",
        name="a.jsonl",
        content=line({"messages": [{"role": "developer", "content": "Be brief."}, USER, ASSISTANT]}),
        turns=(("developer", "Be brief."), *PAIR),
    ),
    Written(
        label="text parts of OpenAI's responses",
        name="a.jsonl",
        content=line(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_text", "text": ASK}]},
                    {"role": "assistant", "content": [{"type": "output_text", "text": SAY}]},
                ]
            }
        ),
        turns=PAIR,
    ),
    Written(label="prompt and completion", name="a.jsonl", content=line({"prompt": ASK, "completion": SAY}), turns=PAIR),
    Written(
        label="prompt and completion as turns",
        name="a.jsonl",
        content=line({"prompt": [USER], "completion": [ASSISTANT]}),
        turns=PAIR,
    ),
    Written(
        label="instruction, input and output",
        name="a.jsonl",
        content=line({"instruction": "Who wrote", "input": "Emma?", "output": SAY}),
        turns=(("user", "Who wrote\nEmma?"), PAIR[1]),
    ),
    Written(label="question and answer", name="a.jsonl", content=line({"question": ASK, "answer": SAY}), turns=PAIR),
    Written(label="a plain text", name="a.jsonl", content=line({"text": SAY}), turns=(PAIR[1],)),
    Written(label="an array", name="a.json", content=json.dumps([json.loads(ROW)], indent=2).encode(), turns=PAIR),
    Written(label="lines under the name .json", name="a.json", content=ROW, turns=PAIR),
    Written(label="lines compressed by gzip", name="a.jsonl.gz", content=gzip.compress(ROW), turns=PAIR),
    Written(label="an array compressed by gzip", name="a.json.gz", content=gzip.compress(b"[" + ROW + b"]"), turns=PAIR),
    Written(
        label="CSV compressed by gzip",
        name="a.csv.gz",
        content=gzip.compress(f"prompt,response\n{ASK},{SAY}\n".encode()),
        turns=PAIR,
    ),
    Written(label="CSV", name="a.csv", content=f"prompt,response\n{ASK},{SAY}\n".encode(), turns=PAIR),
    Written(
        label="CSV with a line break in quotes, BOM and CRLF",
        name="a.csv",
        content=b'\xef\xbb\xbfprompt,response\r\n"Who\nwrote ""Emma""?",Austen\r\n',
        turns=(("user", 'Who\nwrote "Emma"?'), ("assistant", "Austen")),
    ),
    Written(label="a byte order mark", name="a.jsonl", content=b"\xef\xbb\xbf" + ROW, turns=PAIR),
    Written(label="an array after a byte order mark", name="a.json", content=b"\xef\xbb\xbf[" + ROW + b"]", turns=PAIR),
    Written(label="CRLF", name="a.jsonl", content=ROW.replace(b"\n", b"\r\n\r\n"), turns=PAIR),
    Written(label="no line break at the end", name="a.jsonl", content=ROW.rstrip(), turns=PAIR),
    Written(
        label="an id of 5,000 digits beside", name="a.jsonl", content=b'{"id": ' + b"9" * 5000 + b", " + ROW[1:], turns=PAIR
    ),
    Written(
        label="numbers of 5,000 digits in a field of their own and in lists",
        name="a.jsonl",
        content=b'{"ids": [' + b"9" * 5000 + b', {"a": -' + b"8" * 4999 + b"}], " + ROW[1:],
        turns=PAIR,
    ),
    Written(
        label="earlier answers in TRL's prompt",
        name="a.jsonl",
        content=line({"prompt": [USER, ASSISTANT, USER], "completion": [ASSISTANT]}),
        turns=(*PAIR, *PAIR),
    ),
    Written(label="Dolly", name="a.jsonl", content=line({"instruction": ASK, "context": "", "response": SAY}), turns=PAIR),
    Written(
        label="TSV with a line break in quotes",
        name="a.tsv",
        content=b'prompt\tresponse\n"Who\nwrote Emma?"\tAusten\n',
        turns=(("user", "Who\nwrote Emma?"), ("assistant", "Austen")),
    ),
    Written(
        label="a line separator of Unicode in a text",
        name="a.jsonl",
        content=line({"prompt": ASK, "response": "Jane\u2028Austen."}),
        turns=(PAIR[0], ("assistant", "Jane\u2028Austen.")),
    ),
)
