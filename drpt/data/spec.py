"""The `data` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import check_interval
from drpt.kinds import shown_value

MOST_GENERAL = 10_000  # size of the general pool under num_general=null, where a finite source has more
NEAR_DUPLICATES = 0.7  # see `drpt.data.near_duplicates`


COMBINED = "drpt.data.combined.CombinedSource"


@dataclass(kw_only=True)
class DataPart:
    """General or target data that were chosen by themselves: the groups `data/general` and `data/target`."""

    name: str  # the source's name in tables and dashboards
    source: Any  # a node with _target_, as of DataSpec

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: The source is no mapping.
        """
        if not isinstance(self.source, Mapping):
            raise ValueError(
                f"source={shown_value(self.source)} must be a mapping, {{_target_: the dotted path of a class, …}}; "
                "data/general=… and data/target=… choose one."
            )


@dataclass(kw_only=True)
class DataSpec:
    """Where examples come from, and how many of each kind make a step."""

    name: str  # the source's name in tables and dashboards
    source: Any  # a node with _target_, built into a drpt.data.source.Source; Any: each source has keys of its own
    num_target: int  # target examples that training may see: the scarce ones
    num_general: int | None  # size of the general pool; null = all there are, up to MOST_GENERAL
    num_eval: int  # held-out target examples for loss and accuracy
    general_rows: int  # n, general examples a step
    target_rows: int  # m, target examples a step
    max_length: int  # tokens; longer conversations are cut at the end
    packing: bool  # several examples a row, up to max_length tokens, each seen alone
    split_seed: int  # draws the general pool and the evaluation set; the run's seed draws the target examples
    near_duplicates: float | None = NEAR_DUPLICATES  # Jaccard's index from which on two prompts are too alike; null = any
    general: DataPart | None = None  # general data of a source of their own; null = those of `source`
    target: DataPart | None = None  # likewise target data

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        counts = {
            "num_target": "the target examples that training may see",
            "num_eval": "the held-out target examples",
            "general_rows": "general examples a step",
            "target_rows": "target examples a step",
            "num_general": "the size of the general pool",
        }
        for key, meaning in counts.items():
            value = getattr(self, key)
            if value is not None:
                check_interval(f"data.{key}", value, low=1, meaning=meaning)
        check_interval("data.max_length", self.max_length, low=8, meaning="tokens of a conversation")
        if self.near_duplicates is not None:
            check_interval("data.near_duplicates", self.near_duplicates, low=0.1, high=1.0, meaning="Jaccard's index")
        check_interval("data.split_seed", self.split_seed, low=0, meaning="a seed")
        if not isinstance(self.source, Mapping):
            raise ValueError(
                f"data.source={shown_value(self.source)} must be a mapping, {{_target_: the dotted path of a class, …}}; "
                "data=… chooses one."
            )
        if self.target_rows > self.num_target:
            raise ValueError(
                f"data.target_rows={self.target_rows} must be at most data.num_target={self.num_target}: "
                "a step takes each target example once."
            )

    @property
    def node(self) -> Mapping[str, Any]:
        """What `drpt.data.build_source.build_source` builds: ``source``, or general and target data of their own sources."""
        if self.general is None and self.target is None:
            return dict(self.source)
        parts = {"general": self.general, "target": self.target}
        own = {role: dict(part.source) for role, part in parts.items() if part is not None}
        return {"_target_": COMBINED} | dict.fromkeys(parts) | {"source": dict(self.source)} | own

    @property
    def label(self) -> str:
        """Where the examples come from, in a word or two: ``reasoning``, or ``reasoning for jsonl``."""
        if self.general is None and self.target is None:
            return self.name
        general = self.name if self.general is None else self.general.name
        target = self.name if self.target is None else self.target.name
        return f"{general} for {target}"
