"""Task families of reasoning-gym as general or as target data, chosen apart; see `drpt.data.reasoning`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drpt.checks import check_choice
from drpt.data.example import Example
from drpt.data.reasoning import ReasoningSource, families
from drpt.data.reasoning_rules import REFUSED, STORES_NO_ANSWERS
from drpt.data.reasoning_scores import shared_scores


class ReasoningFamilies(ReasoningSource):
    """Examples of families in turn, each with an equal share; as target, questions of the same families, drawn otherwise.

    Args:
        families: Names of the families.
        options: Options of families, by their names, e.g. ``{products: {max_digits: 1}}``.
        system: A system turn put before every question; None leaves it to the chat template.

    Raises:
        ValueError: A family does not exist, or an option is not the family's.
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
                raise ValueError(f"families: {name!r}: {REFUSED[name]}. Take it out of the list.")
        for name in options or {}:
            check_choice("options", name, list(families))
        self._families = list(dict.fromkeys(families))
        self._target, self._general, self._system = "", self._families, system
        self._scores = shared_scores()
        self._options = {name: dict(given) for name, given in (options or {}).items()}
        for name in self._families:
            self._family(name, 0)  # an unknown option is refused now

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._verified(f"target-{seed}")

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._verified(f"evaluation-{seed}")

    def _verified(self, name: str) -> Iterator[Example]:
        """Families in turn, whose scorers may be given a model's answers."""
        for family in self._families:
            if family in REFUSED:
                raise ValueError(f"families: {family!r}: {REFUSED[family]}. Take another family as the target.")
        return self._in_turn(name)

    def _option_of(self, family: str) -> str:
        return f"options.{family}"


def _known() -> list[str]:
    return families()
