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
        label="a line separator of Unicode in a text",
        name="a.jsonl",
        content=line({"prompt": ASK, "response": "Jane\u2028Austen."}),
        turns=(PAIR[0], ("assistant", "Jane\u2028Austen.")),
    ),
)

BAD = (
    Written(
        label="half of a surrogate pair",
        name="a.jsonl",
        content=ROW + b'{"prompt": "Hi \\ud83d", "response": "a"}\n',
        error=r"a\.jsonl:2: field 'prompt' holds \\ud83d at character 4, half of a surrogate pair.*take it out",
    ),
    Written(
        label="half of a surrogate pair in a turn",
        name="a.jsonl",
        content=b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\\udc00"}]}\n',
        error=r"a\.jsonl:1: field 'messages\[1\]\.content' holds \\udc00 at character 1",
    ),
    Written(
        label="a response of 5,000 digits",
        name="a.jsonl",
        content=b'{"prompt": "a", "response": ' + b"9" * 5000 + b"}\n",
        error=r"a\.jsonl:1: field 'response' must be a string, not the number of 5000 digits",
    ),
    Written(
        label="100,000 nested brackets",
        name="a.jsonl",
        content=ROW + b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        error=r"a\.jsonl:2: brackets are nested too deeply to be read",
    ),
    Written(
        label="nested brackets in an array",
        name="a.json",
        content=b"[" * 100_000,
        error=r"a\.json: brackets are nested too deeply to be read",
    ),
    Written(
        label="a key twice",
        name="a.jsonl",
        content=b'{"prompt": "a", "response": "b", "prompt": "c"}\n',
        error=r"a\.jsonl:1: field 'prompt' is there twice in one object",
    ),
    Written(
        label="a key of a turn twice",
        name="a.jsonl",
        content=b'{"messages": [{"role": "user", "role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
        error=r"a\.jsonl:1: field 'role' is there twice",
    ),
    Written(
        label="gzip under the name .jsonl",
        name="a.jsonl",
        content=gzip.compress(ROW),
        error=r"it is compressed by gzip: name it a\.jsonl\.gz",
    ),
    Written(
        label="no gzip under its name", name="a.jsonl.gz", content=ROW, error=r"not compressed by gzip: name it a\.jsonl\."
    ),
    Written(
        label="gzip that was cut",
        name="a.jsonl.gz",
        content=gzip.compress(ROW * 1000)[:-20],
        error=r"the compressed file is cut or damaged.*copy it again",
    ),
    Written(
        label="parquet under the name .jsonl", name="a.jsonl", content=b"PAR1....", error=r"it is parquet: name it \.parquet"
    ),
    Written(label="no parquet under its name", name="a.parquet", content=ROW, error=r"no parquet file, whatever its name"),
    Written(label="UTF-16", name="a.jsonl", content="\ufeff{}".encode("utf-16-le"), error=r"it is UTF-16: convert it to UTF-8"),
    Written(label="Latin-1", name="a.jsonl", content=b'{"prompt": "caf\xe9"}\n', error=r"a\.jsonl:1: byte 16: not UTF-8"),
    Written(
        label="a pointer of Git LFS",
        name="a.parquet",
        content=b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        error=r"a pointer of Git LFS.*git lfs pull",
    ),
    Written(
        label="an array under the name .jsonl",
        name="a.jsonl",
        content=b"[\n" + ROW + b"]\n",
        error=r"it is one JSON array over several lines: name it a\.json\.",
    ),
    Written(
        label="rows in a field",
        name="a.json",
        content=json.dumps({"version": 1, "data": [json.loads(ROW)]}, indent=1).encode(),
        error=r"one array of objects was expected.*The rows seem to be in its field 'data'",
    ),
    Written(
        label="all answers empty",
        name="a.jsonl",
        content=line({"prompt": "a", "response": ""}) + line({"prompt": "b", "response": " "}),
        error=r"all 2 responses are empty, beginning with .*a\.jsonl:1.*field of the responses",
    ),
    Written(
        label="CSV with a comma too many",
        name="a.csv",
        content=b"prompt,response\na,b\nc,d,e\n",
        error=r"a\.csv: line 3: 3 values, and line 1 names 2 columns: put values with a comma",
    ),
    Written(
        label="CSV with a column twice", name="a.csv", content=b"a,a\n1,2\n", error=r"two columns are named 'a': rename one"
    ),
    Written(
        label="an image among the parts",
        name="a.jsonl",
        content=line({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, ASSISTANT]}),
        error=r"field 'messages\[0\]\.content\[0\]' is 'image_url': only parts that are texts",
    ),
    Written(
        label="a weight of one half",
        name="a.jsonl",
        content=line({"messages": [USER, ASSISTANT | {"weight": 0.5}]}),
        error=r"field 'messages\[1\]\.weight' is 0\.5 .*must be 1 \(learned\) or 0",
    ),
    Written(
        label="an unwanted completion",
        name="a.jsonl",
        content=line({"prompt": "a", "completion": "b", "label": False}),
        error=r"field 'label' is false: .*filter=\{label: true\}",
    ),
    Written(
        label="a speaker that is unknown",
        name="a.jsonl",
        content=line({"conversations": [{"from": "narrator", "value": "a"}, GPT]}),
        error=r"field 'conversations\[0\]\.from' is 'narrator'; it must be one of system, developer, user",
    ),
    Written(
        label="a preference",
        name="a.jsonl",
        content=line({"chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]}),
        error=r"none of the formats .*Preferences are for task=reward",
    ),
    Written(label="an empty file", name="a.jsonl", content=b"\n", error=r"the file holds no example"),
)
