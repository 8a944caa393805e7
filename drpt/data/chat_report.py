"""Warnings at the start of a run about how the chat template treats its examples."""

import logging
from collections.abc import Mapping, Sequence

from drpt.data.assistant_turns import CALLS_LOST, CHANGED, CONTENT_LOST, DEVELOPER, PROMPT_DIFFERS, THOUGHTS_LOST, UNENDED
from drpt.data.chat import LEFT_OUT, EncodedExample, EncodedPool

_log = logging.getLogger(__name__)

_WRITE_AN_END = (
    "Write {{{{ eos_token }}}} after the assistant's content in the tokenizer's chat template, or use model.chat_template=plain"
)
# Warnings on examples that are trained on; {count} = "3 of 10", {excerpt} = excerpt of the first example.
_NOTES = {
    UNENDED: (
        "the chat template does not end the answers of {count} examples with a special token, so the model does not learn to "
        f"end answers and generates up to the length limit. {_WRITE_AN_END}"
    ),
    CHANGED: (
        "earlier assistant turns of {count} examples are not learned, only the last turns. When other turns follow, the chat "
        "template renders an earlier answer, or the text before it, differently from how it is generated (some templates drop "
        "the reasoning of earlier turns). The first: {excerpt}"
    ),
    CALLS_LOST: (
        "the chat template does not write the tool calls in earlier turns of {count} examples; these turns are not learned"
    ),
    CONTENT_LOST: (
        "the chat template does not write the assistant's content beside tool calls in {count} examples; only the calls are "
        "learned. Use a template that writes both. The first: {excerpt}"
    ),
    THOUGHTS_LOST: (
        "the chat template does not write the reasoning in {count} examples (reasoning_content, or text before </think>), "
        "which is lost. Use a template that writes it"
    ),
    PROMPT_DIFFERS: (
        "the text before the answers of {count} examples differs between training and generation ({excerpt}); text that only "
        "training has is not learned. Options of the template may make the two equal, such as "
        "+model.chat_template_kwargs.enable_thinking=false"
    ),
}
_QUIET = {DEVELOPER: "the chat template has no developer role: such turns of {count} examples are written as system turns"}

_ENDLESS = (
    "the chat template does not end the answers to {count} prompts with a special token: unless the model generates its end of "
    f"text ({{end}}), responses end only at rollout.max_tokens and evaluation.max_new_tokens. {_WRITE_AN_END}"
)


def report_encoding(pools: Mapping[str, EncodedPool]) -> None:
    """Log each kind of problem with the encoded pools once, with the number of examples and the remedy.

    Args:
        pools: Encoded pools by name.
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
                    "%s pool: left out %d of %d examples, %s. The first, %s: %s",
                    *(name, len(found), total, kind, found[0].example.source, found[0].words),
                )


def report_prompts(prompts: Sequence[EncodedExample], *, end_of_text: str | None) -> None:
    """Warn if the chat template does not end answers with a special token.

    Args:
        prompts: Encoded prompts of all pools.
        end_of_text: End-of-text token of the tokenizer, at which responses end as well.
    """
    endless = sum(row.end_token_id is None for row in prompts)
    if endless:
        _log.warning("%s.", _ENDLESS.format(count=f"{endless} of {len(prompts)}", end=end_of_text or "it has none"))
