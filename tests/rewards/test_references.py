"""Examples left out because of their references: each counts once in a pool, however often it comes by."""

from drpt.rewards.references import ReadableSource
from tests.rewards.answers import answer


class Rows:
    def __init__(self, *references):
        self.examples = [answer("", reference).example for reference in references]

    def general(self, seed):
        yield from [*self.examples, *self.examples, *self.examples]

    def evaluation(self, seed):
        yield from self.examples


class ReadsDigits:
    unreadable = "drop"

    def faults(self, examples):
        return [None if example.response.isdigit() else "is no number." for example in examples]


def test_an_example_that_comes_by_again_counts_once_in_its_pool():
    source = ReadableSource(Rows("1", "a", "2", "b"), [ReadsDigits()])
    assert source.counts == {}
    assert [example.response for example in source.general(0)] == ["1", "2"] * 3
    assert [example.response for example in source.evaluation(0)] == ["1", "2"]
    assert source.counts == {"general_unreadable": 2, "evaluation_unreadable": 2}
