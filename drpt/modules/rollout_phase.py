"""One rollout phase: the engine takes over the policy, answers prompts, and the answers become experience."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.data.chat import EncodedExample
from drpt.data.prompts import PromptData
from drpt.models.merged import merged_weights
from drpt.models.reference import ReferenceModel
from drpt.models.value_head import PolicyWithValues, language_model
from drpt.modules.algorithm_spec import AlgorithmSpec
from drpt.modules.appraisal import Appraisal
from drpt.modules.experience import Experience, joined
from drpt.modules.scoring import ResponseScores, score_responses
from drpt.objectives.advantages import has_signal
from drpt.rewards.judges import Judges, metrics_by_role
from drpt.rewards.reward import Answer, Verdict
from drpt.rewards.weighted import Judged, WeightedReward
from drpt.rollouts.probe import check_probe, measure_mismatch
from drpt.rollouts.protocol import Response, Rollout, Sampling
from drpt.rollouts.spec import RolloutSpec


class NoSignalError(ValueError):
    """No response of several phases in a row has anything to teach."""


@dataclass(slots=True, kw_only=True)
class Phase:
    """What one phase brings."""

    number: int
    general: Experience
    target: Experience  # empty where no target gradient is asked for, or where it is the phase's own
    metrics: dict[str, float] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)  # of the verifiers, for a table
    samples: list[dict[str, Any]] = field(default_factory=list)  # a few responses, for a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One response and what is said of it."""

    response: Response
    judged: Judged  # by the reward
    opinions: Mapping[str, Verdict]  # of judges that training does not follow, by name


class RolloutWorker:
    """Draws responses with the weights of now, judges them and weighs them against each other.

    Args:
        engine: Holds a copy of the policy.
        reward: Judges responses.
        judges: Judge them besides, and training does not follow.
        prompts: What is asked.
        tokenizer: Tokenizer of transformers.
        spec: The `rollout` config group.
        algorithm: The `algorithm` config group.
        appraisal: Makes advantages of rewards.
        reference: The model before training, where a divergence from it counts.
        needs_general: Whether the update looks at responses to general prompts.
        needs_target: Whether it looks at a target gradient.
        stop_token_ids: Each ends a response.
        batch_rows: Rows of a forward pass without gradients.
        precision: The trainer's, a key of `drpt.modules.spec.PRECISIONS`.
        seed: Of all draws.
    """

    def __init__(
        self,
        engine: Rollout,
        reward: WeightedReward,
        judges: Judges,
        prompts: PromptData,
        tokenizer: Any,  # Any: transformers has no types
        spec: RolloutSpec,
        algorithm: AlgorithmSpec,
        appraisal: Appraisal,
        *,
        reference: ReferenceModel | None,
        needs_general: bool,
        needs_target: bool,
        stop_token_ids: Sequence[int],
        batch_rows: int,
        precision: str,
        seed: int,
    ) -> None:
        self.engine = engine
        self.reward = reward
        self._judges = judges
        self.prompts = prompts
        self._tokenizer = tokenizer
        self._spec = spec
        self.appraisal = appraisal
        self._algorithm = algorithm
        self._reference = reference
        is_self = algorithm.target.source == "self"
        self._needs_general = needs_general or (needs_target and is_self)
        self._needs_target = needs_target and not is_self
        self._stops = tuple(stop_token_ids)
        self._batch_rows = batch_rows
        # The coarser of the two says what rounding may do.
        self._probed_dtype = engine.dtype if precision == "32-true" else "bfloat16"
        self._seed = seed
        self._device_type = "cpu"  # until training begins
        self._generate_seconds = 0.0  # of the phase so far, judging left out
        self._scoring_seconds = 0.0  # of the phase so far: what the reward and the judges took

    @property
    def num_responses(self) -> int:
        """Of a whole phase, to general prompts."""
        return self._spec.num_prompts * self._spec.num_responses

    def follow(self, model: nn.Module) -> None:
        """Bring the reference to the policy's device and dtype."""
        parameter = next(language_model(model).parameters())
        self._device_type = parameter.device.type
        if self._reference is not None:
            self._reference.to(parameter.device, parameter.dtype)

    def sync(self, model: nn.Module) -> float:
        """Hand the policy's weights to the engine.

        Args:
            model: The policy.

        Returns:
            Seconds.
        """
        start = time.perf_counter()
        self.engine.sync(merged_weights(language_model(model)))
        return time.perf_counter() - start

    def ask(self, examples: Sequence[EncodedExample], sampling: Sampling) -> list[list[Answered]]:
        """Draw and judge responses.

        Args:
            examples: Prompts.
            sampling: How to draw; see `sampling`.

        Returns:
            Per prompt its responses with what they are worth.
        """
        start = time.perf_counter()
        # Autocast is the trainer's: an engine and models that judge have precisions of their own.
        with torch.autocast(self._device_type, enabled=False):
            return self._ask(examples, sampling, start)

    def _ask(self, examples: Sequence[EncodedExample], sampling: Sampling, start: float) -> list[list[Answered]]:
        responses = self.engine.generate([example.prompt_ids for example in examples], sampling)
        self._generate_seconds += time.perf_counter() - start
        answers = [
            Answer(
                example=example.example,
                text=self._tokenizer.decode(response.token_ids, skip_special_tokens=True),
                is_finished=response.is_finished,
                num_tokens=len(response.token_ids),
            )
            for example, group in zip(examples, responses, strict=True)
            for response in group
        ]
        start = time.perf_counter()
        said = iter(zip(self.reward(answers), self._judges(answers), strict=True))
        self._scoring_seconds += time.perf_counter() - start
        return [
            [
                Answered(response=response, judged=judged, opinions=opinions)
                for response, (judged, opinions) in zip(group, islice(said, len(group)), strict=True)
            ]
            for group in responses
        ]

    def sampling(
        self,
        *stream: object,
        num_responses: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Sampling:
        """How a phase draws.

        Args:
            *stream: With the run's seed they name the draws.
            num_responses: Of each prompt; that of the configuration if left out.
            temperature: Likewise.
            max_tokens: Likewise.

        Returns:
            The same for the same names.
        """
        digest = hashlib.sha256(repr((self._seed, *stream)).encode()).digest()
        is_greedy = temperature == 0.0
        return Sampling(
            num_responses=self._spec.num_responses if num_responses is None else num_responses,
            max_tokens=self._spec.max_tokens if max_tokens is None else max_tokens,
            temperature=self._spec.temperature if temperature is None else temperature,
            seed=int.from_bytes(digest[:4], "big") // 2,
            stop_token_ids=self._stops,
            top_p=1.0 if is_greedy else self._spec.top_p,
            top_k=0 if is_greedy else self._spec.top_k,
        )

    def run_phase(self, number: int, model: nn.Module, device: torch.device) -> Phase:
        """Make one phase's experience.

        Args:
            number: Of the phase, from 0; with the seed it determines prompts and draws.
            model: The policy.
            device: Where it is.

        Returns:
            Rows of the general prompts, of the target prompts, and what was measured on the way. Without any rows where no
            group of general prompts is left to learn from.

        Raises:
            NonFiniteError: A reward, a log-prob or a value is NaN or infinite.
            StaleWeightsError: The engine does not compute what the trainer computes.
        """
        start = time.perf_counter()
        metrics = {"rollout/sync_seconds/value": self.sync(model)}
        self._generate_seconds = self._scoring_seconds = 0.0
        general = self._ask_general(number) if self._needs_general else _Asked([], [], [])
        target = self._ask_target(number) if self._needs_target else _Asked([], [], [])
        metrics |= self._describe(general, target, self._generate_seconds)
        metrics["rollout/scoring_seconds/value"] = self._scoring_seconds
        if self._needs_general and not general.kept:  # nothing to learn from: whoever asked goes on to the next phase
            metrics["rollout/seconds/value"] = time.perf_counter() - start
            return Phase(number=number, general=Experience(), target=Experience(), metrics=metrics)
        experiences = [self._experience(asked) for asked in (general, target)]
        metrics |= self._probe(number, joined(experiences), model, device)
        for stage, experience in zip(("train", "train_target"), experiences, strict=True):
            if len(experience):
                self._add_scores(experience, model, device)
                experience.require_finite()
                # Where the policy is trained on target responses alone, they are what is learned from.
                is_extra = stage == "train_target" and len(experiences[0]) > 0
                figures = self.appraisal(experience, is_target=is_extra)
                metrics |= {f"{stage}/{name}": value for name, value in figures.items()}
        self.appraisal.end_phase()
        metrics["rollout/seconds/value"] = time.perf_counter() - start
        judged = general.judged or target.judged
        return Phase(
            number=number,
            general=experiences[0],
            target=experiences[1],
            metrics=metrics,
            outcomes=self.reward.outcomes(judged),
            samples=[self.sample(example, group[0]) for example, group in zip(general.examples, general.groups, strict=True)],
        )

    def _ask_general(self, number: int) -> "_Asked":
        """Responses to general prompts, and which groups stay; other prompts are asked where that is wanted."""
        rule, wanted = self.appraisal.zero_variance, self._spec.num_prompts
        rounds = self.appraisal.resample_rounds if rule == "resample" else 1
        asked = _Asked([], [], [])
        for again in range(rounds):
            draw = number * rounds + again
            found = self.prompts.general(draw)
            asked.groups += self.ask(found, self.sampling("general", draw))
            asked.examples += found
            signals = has_signal(asked.rewards).tolist()
            asked.kept = [place for place, signal in enumerate(signals) if signal or rule == "keep"][:wanted]
            if len(asked.kept) == wanted:
                break
        return asked

    def _ask_target(self, number: int) -> "_Asked":
        examples = self.prompts.target(number)
        groups = self.ask(examples, self.sampling("target", number))
        return _Asked(examples, groups, list(range(len(groups))))

    def _experience(self, asked: "_Asked") -> Experience:
        if not asked.kept:
            return Experience()
        parts = [
            Experience(
                prompts=[asked.examples[place].prompt_ids] * len(asked.groups[place]),
                responses=[list(one.response.token_ids) for one in asked.groups[place]],
                groups=[place] * len(asked.groups[place]),
                rewards=[one.judged.value for one in asked.groups[place]],
                engine_logprobs=[list(one.response.logprobs) for one in asked.groups[place]],
            )
            for place in asked.kept
        ]
        return joined(parts)

    def _probe(self, number: int, drawn: Experience, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compare a few of the engine's log-probs with the trainer's: weights that are not those of now stop the run."""
        if number % self._spec.probe_every:
            return {}
        # Of all prompts alike: rows of one group share theirs.
        count = min(self._spec.probe_responses, len(drawn))
        some = drawn.pick([place * len(drawn) // count for place in range(count)])
        if self._spec.truncates:  # log-probs of a truncated distribution say nothing: draw from the whole one
            whole = replace(self.sampling("probe", number, num_responses=1), top_p=1.0, top_k=0)
            responses = [response for (response,) in self.engine.generate(some.prompts, whole)]
            some.responses = [list(response.token_ids) for response in responses]
            some.engine_logprobs = [list(response.logprobs) for response in responses]
        own = self._score(model, some, device).logprobs
        mismatch = measure_mismatch(some.engine_logprobs, own)
        check_probe(mismatch, dtype=self._probed_dtype, bound=self._spec.probe_bound)
        return {f"rollout/{name}": value for name, value in mismatch.metrics().items()}

    def _add_scores(self, experience: Experience, model: nn.Module, device: torch.device) -> None:
        """What the policy, its value head and the reference say of the responses."""
        experience.old_logprobs = experience.engine_logprobs
        is_recomputed = self._algorithm.old_logprobs == "trainer"
        if is_recomputed or isinstance(model, PolicyWithValues):
            scores = self._score(model, experience, device)
            experience.values = scores.values
            if is_recomputed:
                experience.old_logprobs = scores.logprobs
        if self._reference is not None:
            with self._reference.active() as reference:
                experience.reference_logprobs = self._score(reference, experience, device).logprobs

    def _score(self, model: nn.Module, experience: Experience, device: torch.device) -> ResponseScores:
        return score_responses(
            model,
            experience,
            temperature=self._spec.temperature,
            pad_token_id=self._tokenizer.pad_token_id,
            batch_rows=self._batch_rows,
            device=device,
        )

    def _describe(self, general: "_Asked", target: "_Asked", seconds: float) -> dict[str, float]:
        responses = [one.response for asked in (general, target) for group in asked.groups for one in group]
        num_tokens = [len(response.token_ids) for response in responses]
        metrics = {
            "train/response_length/mean": sum(num_tokens) / len(num_tokens),
            "train/finished/share": sum(response.is_finished for response in responses) / len(responses),
            "rollout/tokens/sum": float(sum(num_tokens)),
            "rollout/tokens_per_second/value": sum(num_tokens) / seconds,
            "rollout/generate_seconds/value": seconds,
        }
        for stage, asked in (("train", general), ("train_target", target)):
            if asked.groups:
                figures = self.reward.metrics(asked.judged) | metrics_by_role(opinions_of(asked.groups))
                metrics |= {f"{stage}/{name}": value for name, value in figures.items()}
                if asked.rewards.shape[1] > 1:  # one response has nothing to differ from
                    metrics[f"{stage}/groups_with_signal/share"] = float(has_signal(asked.rewards).double().mean())
        return metrics

    def sample(self, example: EncodedExample, answered: Answered) -> dict[str, Any]:
        """One response as a table shows it.

        Args:
            example: What was asked.
            answered: What was answered, and what it is worth.

        Returns:
            Plain values.
        """
        return {
            "prompt": example.example.prompt[-1].content,
            "expected": example.example.response,
            "answer": self._tokenizer.decode(answered.response.token_ids, skip_special_tokens=True),
            "is_correct": answered.judged.is_correct,  # None where the reward does not judge it
            "reward": answered.judged.value,
            **{name: verdict.value for name, verdict in answered.opinions.items()},
        }


@dataclass(slots=True)
class _Asked:
    """Prompts and what was answered."""

    examples: list[EncodedExample]
    groups: list[list[Answered]]  # one a prompt
    kept: list[int]  # groups to learn from

    @property
    def rewards(self) -> Float[Tensor, "group response"]:
        return torch.tensor([[one.judged.value for one in group] for group in self.groups], dtype=torch.float64)

    @property
    def judged(self) -> list[Judged]:
        return [one.judged for group in self.groups for one in group]


def opinions_of(groups: Sequence[Sequence[Answered]]) -> list[list[tuple[Judged, Mapping[str, Verdict]]]]:
    """As `drpt.rewards.judges.metrics_by_role` takes them."""
    return [[(one.judged, one.opinions) for one in group] for group in groups]
