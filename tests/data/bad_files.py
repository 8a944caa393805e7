"""Files that cannot be read as they are: each with what is to be said of it."""

import gzip
import json

from tests.data.people_files import ASSISTANT, GPT, HUMAN, ROW, USER, Written, line


def damaged(place, with_bytes):
    """A compressed file in which some bytes are others."""
    whole = gzip.compress(b"".join(line({"prompt": str(i), "response": str(i * i)}) for i in range(500)))
    return whole[:place] + with_bytes + whole[place + len(with_bytes) :]


BAD = (
    Written(
        label="half of a surrogate pair",
        name="a.jsonl",
        content=ROW + b'{"prompt": "Hi \\ud83d", "response": "a"}\n',
        error=r"a\.jsonl:2: field 'prompt' contains \\ud83d at character 4, which is half of a surrogate pair.*remove it",
    ),
    Written(
        label="half of a surrogate pair in a turn",
        name="a.jsonl",
        content=b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\\udc00"}]}\n',
        error=r"a\.jsonl:1: field 'messages\[1\]\.content' contains \\udc00 at character 1",
    ),
    Written(
        label="a response of 5,000 digits",
        name="a.jsonl",
        content=b'{"prompt": "a", "response": ' + b"9" * 5000 + b"}\n",
        error=r"a\.jsonl:1: field 'response' must be a string, not a number with 5000 digits: columns=\{.*"
        r"response: \"\{response\}\"\} writes it as text",
    ),
    Written(
        label="100,000 nested brackets",
        name="a.jsonl",
        content=ROW + b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        error=r"a\.jsonl:2: brackets are nested too deeply",
    ),
    Written(
        label="nested brackets in an array",
        name="a.json",
        content=b"[" * 100_000,
        error=r"a\.json: brackets are nested too deeply",
    ),
    Written(
        label="a key twice",
        name="a.jsonl",
        content=b'{"prompt": "a", "response": "b", "prompt": "c"}\n',
        error=r"a\.jsonl:1: field 'prompt' appears twice in one object",
    ),
    Written(
        label="a key of a turn twice",
        name="a.jsonl",
        content=b'{"messages": [{"role": "user", "role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
        error=r"a\.jsonl:1: field 'role' appears twice",
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
        error=r"the compressed file is truncated or damaged.*copy it again",
    ),
    Written(
        label="gzip that is damaged at its beginning",
        name="a.jsonl.gz",
        content=damaged(12, b"\xff\xff\xff"),
        error=r"the compressed file is truncated or damaged \(.*\): copy it again",
    ),
    Written(
        label="gzip that is damaged in its middle",
        name="a.json.gz",
        content=damaged(40, b"\x00" * 8),
        error=r"the compressed file is truncated or damaged \(.*\): copy it again",
    ),
    Written(
        label="gzip whose header is damaged",
        name="a.csv.gz",
        content=damaged(2, b"\x07"),
        error=r"the compressed file is truncated or damaged \(.*\): copy it again",
    ),
    Written(
        label="gzip whose checksum is another",
        name="a.jsonl.gz",
        content=gzip.compress(ROW)[:-8] + b"\x00" * 8,
        error=r"the compressed file is truncated or damaged \(.*\): copy it again",
    ),
    Written(
        label="TSV with quotes of its text",
        name="a.tsv",
        content=b'prompt\tresponse\na\t"start\nb\tc\nd\tend"\ne\tf\n',
        error=r"a\.tsv: lines 2 to 4 are either one row with a quoted value over several lines, or 3 rows with quotation marks",
    ),
    Written(
        label="half of a surrogate pair in a tool",
        name="a.jsonl",
        content=b'{"tools": [{"function": {"name": "f\\ud83d"}}], "messages": '
        + json.dumps([USER, ASSISTANT]).encode()
        + b"}\n",
        error=r"a\.jsonl:1: field 'tools' contains \\ud83d",
    ),
    Written(
        label="a number of 5,000 digits in a tool",
        name="a.jsonl",
        content=b'{"tools": [{"max": ' + b"9" * 5000 + b'}], "messages": ' + json.dumps([USER, ASSISTANT]).encode() + b"}\n",
        error=r"a\.jsonl:1: field 'tools' must contain JSON \(Exceeds the limit",
    ),
    Written(
        label="parquet under the name .jsonl", name="a.jsonl", content=b"PAR1....", error=r"it is parquet: name it \.parquet"
    ),
    Written(label="no parquet under its name", name="a.parquet", content=ROW, error=r"not a parquet file, despite its name"),
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
        error=r"expected one array of objects.*The rows seem to be in the field 'data'",
    ),
    Written(
        label="all answers empty",
        name="a.jsonl",
        content=line({"prompt": "a", "response": ""}) + line({"prompt": "b", "response": " "}),
        error=r"all 2 responses are empty, beginning with .*a\.jsonl:1.*right field",
    ),
    Written(
        label="CSV with a comma too many",
        name="a.csv",
        content=b"prompt,response\na,b\nc,d,e\n",
        error=r"a\.csv: line 3: 3 values, but line 1 names 2 columns: quote values that contain a comma",
    ),
    Written(
        label="CSV with a column twice", name="a.csv", content=b"a,a\n1,2\n", error=r"two columns are named 'a': rename one"
    ),
    Written(
        label="an image among the parts",
        name="a.jsonl",
        content=line({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, ASSISTANT]}),
        error=r"field 'messages\[0\]\.content\[0\]' is 'image_url': only text parts",
    ),
    Written(
        label="a weight of one half",
        name="a.jsonl",
        content=line({"messages": [USER, ASSISTANT | {"weight": 0.5}]}),
        error=r"field 'messages\[1\]\.weight' is 0\.5 .*must be 1 \(learned\) or 0",
    ),
    Written(
        label="a switch that is no truth value",
        name="a.jsonl",
        content=line({"conversations": [HUMAN, GPT | {"train": "no"}]}),
        error=r"field 'conversations\[1\]\.train' is 'no' .*must be true \(learned\) or false",
    ),
    Written(
        label="a user's turn to be learned",
        name="a.jsonl",
        content=line({"messages": [USER | {"train": True}, ASSISTANT]}),
        error=r"field 'messages\[0\]\.train' is True in the user's turn; .*only an assistant's turn can be learned",
    ),
    Written(
        label="parts of a turn to be learned",
        name="a.jsonl",
        content=line(
            {"messages": [USER, ASSISTANT | {"train_detail": [{"begin_offset": 0, "end_offset": 3, "train": False}]}]}
        ),
        error=r"field 'messages\[1\]\.train_detail': turns are learned as a whole or not at all",
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
        error=r"no known format .*Preferences are for task=reward",
    ),
    Written(
        label="gzip under the name .parquet",
        name="a.parquet",
        content=gzip.compress(ROW),
        error=r"it is not a parquet file, despite its name; it is compressed by gzip: unpack it",
    ),
    Written(
        label="rows in a field, on one line",
        name="a.json",
        content=json.dumps({"data": [json.loads(ROW)]}).encode(),
        error=r"If the rows are in its field 'data', write that array alone",
    ),
    Written(
        label="turns under another name",
        name="a.jsonl",
        content=line({"dialog": [USER, ASSISTANT]}),
        error=r"The turns seem to be in its field 'dialog': columns=\{messages: dialog\}",
    ),
    Written(
        label="responses as a list",
        name="a.jsonl",
        content=line({"prompt": "a", "response": ["b", "c"]}),
        error=r"not a list: columns=\{prompt: \"\{prompt\}\", response: \"\{response\[0\]\}\"\} takes the first text of it",
    ),
    Written(
        label="a weight that is a list",
        name="a.jsonl",
        content=line({"messages": [USER, ASSISTANT | {"weight": [1]}]}),
        error=r"field 'messages\[1\]\.weight' is \[1\] .*must be 1",
    ),
    Written(
        label="a weight of 5,000 digits",
        name="a.jsonl",
        content=line({"messages": [USER, ASSISTANT | {"weight": 1}]}).replace(b'"weight": 1', b'"weight": ' + b"7" * 5000),
        error=r"weight' is a number with 5000 digits in the assistant's turn",
    ),
    Written(label="an empty file", name="a.jsonl", content=b"\n", error=r"the file contains no example"),
)
