"""A source of reasoning-gym's task families for general or for target data (``data/general=reasoning``)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drpt.checks import check_choice
from drpt.data.example import Example
from drpt.data.reasoning import ReasoningSource, families
from drpt.data.reasoning_rules import REFUSED, STORES_NO_ANSWERS
from drpt.data.reasoning_scores import shared_scores


class ReasoningFamilies(ReasoningSource):
    """Examples of several families in equal shares.

    Args:
        families: Names of the families.
        options: Options by family, e.g. ``{products: {max_digits: 1}}``.
        system: System turn before every question; None = that of the chat template, if any.

    Raises:
        ValueError: A family does not exist, stores no answers, or does not have an option.
    """

    is_endless = True
    has_responses = True

    def __init__(
        self,
        *,
        families: Sequence[str],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        system: str | None = None,
    ) -> None:
        known = _known()
        if not families:
            raise ValueError("families=[]: name at least one family.")
        for name in families:
            check_choice("families", name, known)
            if name in STORES_NO_ANSWERS:
                raise ValueError(f"families: {name!r}: {REFUSED[name]}. Remove it from the list.")
        for name in options or {}:
            check_choice("options", name, list(families))
        self._families = list(dict.fromkeys(families))
        self._target, self._general, self._system = "", self._families, system
        self._scores = shared_scores()
        self._options = {name: dict(given) for name, given in (options or {}).items()}
        for name in self._families:
            self._family(name, 0)  # refuses unknown options

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._verified(f"target-{seed}")

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._verified(f"evaluation-{seed}")

    def _verified(self, name: str) -> Iterator[Example]:
        """Alternate between the families; refuses those that cannot score a model's answers."""
        for family in self._families:
            if family in REFUSED:
                raise ValueError(f"families: {family!r}: {REFUSED[family]}. Choose another family as the target.")
        return self._in_turn(name)

    def _option_of(self, family: str) -> str:
        return f"options.{family}"


def _known() -> list[str]:
    return families()
