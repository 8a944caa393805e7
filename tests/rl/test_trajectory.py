"""One record of a response: what a checkpoint keeps of it, and what must be finite."""

import json

import pytest

from drpt.errors import NonFiniteError
from drpt.rl.trajectory import Trajectory, from_columns, require_finite, to_columns

PHASE = [
    Trajectory(
        prompt=[1, 2], response=[5, 6, 7], group=0, reward=1.0, engine_logprobs=[-1.0, -2.0, -3.0],
        old_logprobs=[-1.5, -2.5, -3.5], advantages=[0.5, 0.25, 0.0],
    ),
    Trajectory(
        prompt=[3], response=[8], group=1, reward=0.0, engine_logprobs=[-4.0], old_logprobs=[-4.5], advantages=[-0.5],
    ),
]  # fmt: skip


@pytest.mark.parametrize("given", [PHASE, PHASE[:1], [], [Trajectory(prompt=[1], response=[2], values=[0.5], returns=[1.0])]])
def test_a_checkpoint_s_plain_values_give_it_back(given):
    assert from_columns(json.loads(json.dumps(to_columns(given)))) == given


def test_checkpoints_with_one_advantage_a_response_are_read():
    """As they were written when group-relative advantages were kept so, and fields that nobody filled in as empty lists."""
    columns = {
        "prompts": [[1, 2], [3]],
        "responses": [[5, 6, 7], [8]],
        "groups": [0, 1],
        "rewards": [1.0, 0.0],
        "advantages": [0.5, -0.25],
        "token_advantages": [],
        "values": [],
        "returns": [],
        "engine_logprobs": [[-1.0, -2.0, -3.0], [-4.0]],
        "old_logprobs": [[-1.5, -2.5, -3.5], [-4.5]],
        "reference_logprobs": [],
    }
    first, second = from_columns(columns)
    assert (first.advantages, second.advantages) == ([0.5, 0.5, 0.5], [-0.25])
    assert (first.response, second.old_logprobs, second.group) == ([5, 6, 7], [-4.5], 1)
    assert first.reference_logprobs == first.values == []
    with_values = from_columns(columns | {"advantages": [], "token_advantages": [[0.1, 0.2, 0.3], [0.4]]})
    assert [one.advantages for one in with_values] == [[0.1, 0.2, 0.3], [0.4]]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("engine_logprobs", "the engine"),
        ("old_logprobs", "the policy"),
        ("reference_logprobs", "the reference"),
        ("values", "the value head"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_numbers_of_responses_are_finite(name, source, value):
    def rows(second):
        return [Trajectory(prompt=[0], response=[i], **{name: [number]}) for i, number in enumerate((-1.0, second))]

    require_finite(rows(-2.0))
    with pytest.raises(NonFiniteError, match=rf"^{source} gives 1 of 2 responses {name} that are NaN or infinite \(response 1"):
        require_finite(rows(value))
