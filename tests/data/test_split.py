"""Which examples of a step go where."""

from hypothesis import given
from hypothesis import strategies as st

from drpt.data.split import StepSplit


def parts(n, m, *, batches=1, processes=1, is_mixed=False):
    return [
        StepSplit(num_micro_batches=batches, is_mixed=is_mixed, process=process, num_processes=processes).divide(
            num_general=n, num_target=m
        )
        for process in range(processes)
    ]


def test_target_examples_come_first_where_one_choice_is_made():
    assert parts(6, 2, batches=4) == [[[6, 7], [0, 1], [2, 3], [4, 5]]]
    assert parts(6, 2, batches=3) == [[[0, 6, 7], [1, 2], [3, 4, 5]]]


def test_each_batch_has_its_share_where_it_chooses_for_itself():
    assert parts(4, 2, batches=2, is_mixed=True) == [[[0, 1, 4], [2, 3, 5]]]


def test_processes_take_turns():
    assert parts(4, 2, batches=1, processes=2) == [[[0, 4, 5]], [[1, 2, 3]]]
    assert parts(4, 4, batches=2, processes=2) == [[[4, 5], [0, 1]], [[6, 7], [2, 3]]]


@given(st.integers(0, 20), st.integers(0, 5), st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_every_example_is_somewhere_once(n, m, batches, processes, is_mixed):
    found = [
        example for own in parts(n, m, batches=batches, processes=processes, is_mixed=is_mixed) for p in own for example in p
    ]
    assert sorted(found) == list(range(n + m))
    assert all(p == sorted(p) for own in parts(n, m, batches=batches, processes=processes, is_mixed=is_mixed) for p in own)
