"""What is said at a run's start about how a chat template treats its examples."""

import logging
from collections.abc import Mapping, Sequence

from drpt.data.assistant_turns import CALLS_LOST, CHANGED, CONTENT_LOST, DEVELOPER, PROMPT_DIFFERS, THOUGHTS_LOST, UNENDED
from drpt.data.chat import LEFT_OUT, EncodedExample, EncodedPool

_log = logging.getLogger(__name__)

_WRITE_AN_END = (
    "Write {{{{ eos_token }}}} after the assistant's content in the tokenizer's chat template, or take "
    "model.chat_template=plain"
)
# What is said of examples that are trained on; {count} of {total}, {excerpt} of the first.
_NOTES = {
    UNENDED: (
        "the chat template ends none of the answers of {count} examples with a special token, so that no end of an answer is "
        f"learned and answers run to their full length. {_WRITE_AN_END}"
    ),
    CHANGED: (
        "earlier assistant turns of {count} examples are not learned. The last turns are learned. Before further turns the "
        "chat template writes an earlier answer, or the text before it, differently from the way it is generated (some drop "
        "the thoughts of earlier turns). The first: {excerpt}"
    ),
    CALLS_LOST: (
        "tool calls in earlier turns of {count} examples are not written by the chat template, and the turns are not learned"
    ),
    CONTENT_LOST: (
        "what the assistant says beside tool calls in {count} examples is not written by the chat template and is lost; the "
        "calls alone are learned. Take a template that writes both. The first: {excerpt}"
    ),
    THOUGHTS_LOST: (
        "thoughts in {count} examples (reasoning_content, or before </think>) are not written by the chat template and are "
        "lost. Take a template that writes them"
    ),
    PROMPT_DIFFERS: (
        "before the answers of {count} examples training has another text than generation is given ({excerpt}); what only "
        "training has is not learned. A template's own options may make the two the same, such as "
        "+model.chat_template_kwargs.enable_thinking=false"
    ),
}
_QUIET = {DEVELOPER: "the chat template knows no developer: such turns of {count} examples are written as system turns"}

_ENDLESS = (
    "the chat template ends the answers to {count} prompts with no special token: unless the model writes its end of text "
    f"({{end}}) by itself, responses end at rollout.max_tokens and evaluation.max_new_tokens alone. {_WRITE_AN_END}"
)


def report_encoding(pools: Mapping[str, EncodedPool]) -> None:
    """Log what a user has to know of encoded pools: warnings, each once, with the number of examples and the remedy.

    Args:
        pools: By name.
    """
    rows = [row for pool in pools.values() for row in pool.examples]
    for texts, level in ((_NOTES, logging.WARNING), (_QUIET, logging.INFO)):
        for note, words in texts.items():
            noted = [row.notes[note] for row in rows if note in row.notes]
            if noted:
                count = f"{len(noted)} of {len(rows)}"
                _log.log(level, "%s.", words.format(count=count, excerpt=noted[0]))
    for name, pool in pools.items():
        for reason, kind in LEFT_OUT.items():
            found = [one for one in pool.left_out if one.reason == reason]
            if found and reason not in {"empty", "cut"}:
                total = len(pool.examples) + len(pool.left_out)
                _log.warning(
                    "%s pool: %d of %d examples are left out, %s. The first, %s: %s",
                    *(name, len(found), total, kind, found[0].example.source, found[0].words),
                )


def report_prompts(prompts: Sequence[EncodedExample], *, end_of_text: str | None) -> None:
    """Warn of a chat template under which nothing tells a response where to end.

    Args:
        prompts: Encoded prompts of all pools.
        end_of_text: The tokenizer's token for it, at which responses end besides.
    """
    endless = sum(row.end_token_id is None for row in prompts)
    if endless:
        _log.warning("%s.", _ENDLESS.format(count=f"{endless} of {len(prompts)}", end=end_of_text or "it has none"))
