"""The `data` config group: its keys and rules, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drpt.checks import check_interval
from drpt.kinds import shown_value

MOST_GENERAL = 10_000  # largest general pool with num_general=null
NEAR_DUPLICATES = 0.7  # default threshold of `drpt.data.near_duplicates`


COMBINED = "drpt.data.combined.CombinedSource"


@dataclass(kw_only=True)
class DataPart:
    """Data of the groups `data/general` and `data/target`, which choose general and target data separately."""

    name: str  # name of the source in tables and dashboards
    source: Any  # the source of this data: _target_ (path of a class) and the class's own keys

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
    """The source of examples, the sizes of the pools, and the number of examples per step."""

    name: str  # name of the source in tables and dashboards
    source: Any  # the source of examples: _target_ (path of a class) and the class's own keys
    num_target: int  # number of target examples available for training, at least 1
    num_general: int | None  # size of the general pool, at least 1; null = all examples, up to 10,000
    num_eval: int  # number of held-out target examples for loss and accuracy, at least 1
    general_rows: int  # n, number of general examples per step, at least 1
    target_rows: int  # m, number of target examples per step, at least 1 and at most num_target
    max_length: int  # largest number of tokens in a conversation, at least 8; longer ones are truncated at the end
    packing: bool  # true = several examples per row of up to max_length tokens, which do not attend to each other
    split_seed: int  # seed of the general pool and the evaluation set, at least 0; the run's seed draws the target examples
    near_duplicates: float | None = NEAR_DUPLICATES  # Jaccard index that makes two prompts duplicates, 0.1 to 1; null = never
    general: DataPart | None = None  # separate source of general data; null = `source`
    target: DataPart | None = None  # separate source of target data; null = `source`

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value breaks its rule.
        """
        counts = {
            "num_target": "the number of target examples for training",
            "num_eval": "the number of held-out target examples",
            "general_rows": "the number of general examples per step",
            "target_rows": "the number of target examples per step",
            "num_general": "the size of the general pool",
        }
        for key, meaning in counts.items():
            value = getattr(self, key)
            if value is not None:
                check_interval(f"data.{key}", value, low=1, meaning=meaning)
        check_interval("data.max_length", self.max_length, low=8, meaning="tokens of a conversation")
        if self.near_duplicates is not None:
            check_interval("data.near_duplicates", self.near_duplicates, low=0.1, high=1.0, meaning="a Jaccard index")
        check_interval("data.split_seed", self.split_seed, low=0, meaning="a seed")
        if not isinstance(self.source, Mapping):
            raise ValueError(
                f"data.source={shown_value(self.source)} must be a mapping, {{_target_: the dotted path of a class, …}}; "
                "data=… chooses one."
            )
        if self.target_rows > self.num_target:
            raise ValueError(
                f"data.target_rows={self.target_rows} must be at most data.num_target={self.num_target}: "
                "a step uses each target example at most once."
            )

    @property
    def node(self) -> Mapping[str, Any]:
        """Node for `drpt.data.build_source.build_source`: ``source``, or a combination of general and target sources."""
        if self.general is None and self.target is None:
            return dict(self.source)
        parts = {"general": self.general, "target": self.target}
        own = {role: dict(part.source) for role, part in parts.items() if part is not None}
        return {"_target_": COMBINED} | dict.fromkeys(parts) | {"source": dict(self.source)} | own

    @property
    def label(self) -> str:
        """Short name of the data, such as ``reasoning``, or ``reasoning for jsonl`` with separate sources."""
        if self.general is None and self.target is None:
            return self.name
        general = self.name if self.general is None else self.general.name
        target = self.name if self.target is None else self.target.name
        return f"{general} for {target}"
