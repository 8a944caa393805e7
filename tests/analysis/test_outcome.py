"""The decomposition against its definition, its defining properties, and what the jackknife does on a known ensemble."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.analysis.outcome import OutcomeSums, Part, split_tokens
from drpt.analysis.outcome_chart import draw_outcomes
from drpt.analysis.outcome_table import OutcomePoint, as_text, ranked
from tests.reference import outcome as reference


def ensemble(seed, *, num=4, tokens=7, vocabulary=11, scale=1.5, dtype=torch.float64):
    """Logits with a common part and a part of their own, the right tokens, and the example of each token."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(1, tokens, vocabulary, generator=generator, dtype=torch.float64)
    own = torch.randn(num, tokens, vocabulary, generator=generator, dtype=torch.float64)
    answers = torch.randint(vocabulary, (tokens,), generator=generator)
    examples = torch.arange(tokens) // 2
    return (2 * common + scale * own).to(dtype), answers, examples


def measure(logits, answers, examples, **options):
    sums = OutcomeSums(len(logits), int(examples.max()) + 1)
    sums.add(split_tokens(logits, answers, **options), examples)
    return sums.result()


@pytest.mark.parametrize("num", [2, 3, 5])
def test_figures_are_those_of_the_definition(num):
    logits, answers, examples = ensemble(num, num=num)
    found = measure(logits, answers, examples, slice_width=4)
    probabilities = logits.softmax(dim=2)
    expected, bias, variance = reference.parts(probabilities, answers)
    assert (found.expected.raw, found.expected.value) == pytest.approx((expected, expected), rel=1e-12)
    assert (found.bias.raw, found.variance.raw) == pytest.approx((bias, variance), rel=1e-10)
    values, errors = reference.jackknife(probabilities, answers)
    assert [found.bias.value, found.variance.value] == pytest.approx(values, rel=1e-10)
    if num > 2:
        assert [found.bias.stderr_replicates, found.variance.stderr_replicates] == pytest.approx(errors, rel=1e-8)
    losses = torch.tensor(found.losses, dtype=torch.float64)
    assert float(losses.mean()) == pytest.approx(expected, rel=1e-12)
    assert found.expected.stderr_replicates == pytest.approx(float(losses.std()) / math.sqrt(num), rel=1e-10)
    assert (found.num_examples, found.num_tokens) == (4, 7)


def test_errors_over_examples_are_those_of_a_ratio():
    logits, answers, examples = ensemble(1)
    found = measure(logits, answers, examples)
    places = [(examples == i).nonzero().flatten() for i in range(4)]
    expected, bias, variance = [], [], []
    for place in places:
        own = logits[:, place].softmax(dim=2)
        expected.append(reference.parts(own, answers[place])[0] * len(place))
        values, _ = reference.jackknife(own, answers[place])
        bias.append(values[0] * len(place))
        variance.append(values[1] * len(place))
    counts = [len(place) for place in places]
    for part, sums in ((found.expected, expected), (found.bias, bias), (found.variance, variance)):
        assert part.stderr_examples == pytest.approx(reference.stderr_over_examples(sums, counts), rel=1e-8)


SEEDS = st.integers(0, 10_000)


@given(seed=SEEDS, num=st.integers(2, 6), scale=st.sampled_from([1e-3, 1.0, 30.0]))
def test_parts_add_up_and_variance_is_never_negative(seed, num, scale):
    logits, answers, examples = ensemble(seed, num=num, scale=scale)
    terms = split_tokens(logits, answers, slice_width=4)
    assert float(terms.variance.min()) >= 0
    found = measure(logits, answers, examples)
    for figure in ("raw", "value"):
        total = getattr(found.bias, figure) + getattr(found.variance, figure)
        assert total == pytest.approx(found.expected.value, rel=1e-12)
    # Hölder: leaving a replicate out lowers the variance on average, so that the correction never does.
    assert float((terms.variance - terms.left_out.mean(dim=0)).min()) >= -1e-12
    assert found.variance.value >= found.variance.raw - 1e-12
    centre_loss = found.bias.raw
    assert centre_loss <= found.expected.value + 1e-12


@given(seed=SEEDS, num=st.integers(2, 6))
def test_identical_replicates_have_no_variance(seed, num):
    logits, answers, examples = ensemble(seed, num=1)
    shifts = torch.randn(num, 7, 1, dtype=torch.float64)  # logits are defined up to a constant
    found = measure(logits + shifts, answers, examples)
    assert found.variance.value == pytest.approx(0, abs=1e-13)
    assert found.bias.value == pytest.approx(found.expected.value, rel=1e-12)


@given(seed=SEEDS, data=st.data())
def test_order_of_replicates_does_not_matter(seed, data):
    logits, answers, examples = ensemble(seed)
    order = data.draw(st.permutations(range(4)))
    before, after = measure(logits, answers, examples), measure(logits[order], answers, examples)
    assert after.losses == pytest.approx([before.losses[i] for i in order], rel=1e-12)
    for name in ("expected", "bias", "variance"):
        one, other = getattr(before, name), getattr(after, name)
        assert [getattr(other, f) for f in Part.__dataclass_fields__] == pytest.approx(
            [getattr(one, f) for f in Part.__dataclass_fields__], rel=1e-9, abs=1e-13
        )


@given(seed=SEEDS, width=st.integers(1, 12), cuts=st.sets(st.integers(1, 6)))
def test_slices_and_chunks_change_nothing(seed, width, cuts):
    logits, answers, examples = ensemble(seed)
    whole = measure(logits, answers, examples)
    sums = OutcomeSums(4, 4)
    bounds = [0, *sorted(cuts), 7]
    for start, stop in itertools.pairwise(bounds):
        sums.add(split_tokens(logits[:, start:stop], answers[start:stop], slice_width=width), examples[start:stop])
    chunked = sums.result()
    for name in ("expected", "bias", "variance"):
        one, other = getattr(whole, name), getattr(chunked, name)
        assert [getattr(other, f) for f in Part.__dataclass_fields__] == pytest.approx(
            [getattr(one, f) for f in Part.__dataclass_fields__], rel=1e-9, abs=1e-13
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_in_float64_whatever_the_logits(dtype):
    logits, answers, _ = ensemble(2, dtype=dtype, scale=1e-3)
    expected = split_tokens(logits.double(), answers)
    found = split_tokens(logits, answers)
    for name in ("losses", "variance", "left_out"):
        assert getattr(found, name).dtype is torch.float64
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-12)


def test_masked_vocabulary_counts_nothing():
    """Some models mark unused rows of the vocabulary with the smallest float32."""
    logits, answers, examples = ensemble(3, dtype=torch.float32)
    unused = torch.full((4, 7, 5), torch.finfo(torch.float32).min)
    one, other = measure(logits, answers, examples), measure(torch.cat([logits, unused], dim=2), answers, examples)
    assert other.variance.value == pytest.approx(one.variance.value, rel=1e-12)


def test_two_replicates_double_the_variance_and_have_no_error_of_it():
    found = measure(*ensemble(4, num=2))
    assert found.variance.value == pytest.approx(2 * found.variance.raw, rel=1e-12)
    assert math.isnan(found.variance.stderr_replicates)
    assert math.isnan(found.bias.stderr_replicates)
    assert found.expected.stderr_replicates > 0
    assert found.variance.stderr_examples > 0


def test_one_replicate_is_refused():
    logits, answers, _ = ensemble(5, num=1)
    with pytest.raises(ValueError, match="at least 2"):
        split_tokens(logits, answers)


@pytest.mark.parametrize("num", [2, 3, 5])
def test_jackknife_takes_most_of_the_bias_away(num):
    """Gaussian noise on the logits of categorical distributions: the variance of ever more replicates is known.

    As R → ∞ the mean log-probability tends to its expectation, here from 200 000 draws.
    """
    tokens, vocabulary, noise, ensembles = 4, 5, 0.6, 4_000
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(tokens, vocabulary, generator=generator, dtype=torch.float64)

    def draws(count):
        own = torch.randn(count, tokens, vocabulary, generator=generator, dtype=torch.float64)
        return (base + noise * own).log_softmax(dim=2)

    truth = float(-draws(200_000).mean(dim=0).logsumexp(dim=1).mean())
    logits = draws(num * ensembles).view(num, ensembles * tokens, vocabulary)
    terms = split_tokens(logits, torch.zeros(ensembles * tokens, dtype=torch.long))
    raw = terms.variance.view(ensembles, tokens).mean(dim=1)
    corrected = (num * terms.variance - (num - 1) * terms.left_out.mean(dim=0)).view(ensembles, tokens).mean(dim=1)
    stderr = float(corrected.std()) / math.sqrt(ensembles)
    assert abs(float(raw.mean()) - truth * (1 - 1 / num)) < 0.05 * truth  # what is left out, to leading order
    assert truth - float(raw.mean()) > 8 * stderr
    assert abs(float(corrected.mean()) - truth) < 0.15 * (truth - float(raw.mean())) + 3 * stderr


def points():
    return [
        OutcomePoint(label=label, name=name, seeds=tuple(range(num)), outcome=measure(*ensemble(i, num=num, scale=1 + i)))
        for i, (label, name, num) in enumerate(
            [("mix λ=0.5", "mix", 3), ("full", "full", 2), ("target_only", "target_only", 3)]
        )
    ]


@pytest.mark.parametrize(("width", "errors"), [(80, 1), (140, 2)])
def test_table_puts_the_best_first_with_as_many_errors_as_fit(width, errors):
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        console.print(as_text(points(), console.width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    lines = [line.strip() for line in lines]
    order = [point.label for point in ranked(points())]
    body = [line for line in lines if line.startswith(tuple(order))]
    assert len(body) == len(order)
    assert all(line.startswith(label) for line, label in zip(body, order, strict=True))
    assert body[order.index("mix λ=0.5")].count("±") == 3 * errors
    two = body[order.index("full")]
    assert two.count("–") == (2 if errors == 2 else 0)  # no error over two replicates for bias and variance


def test_chart_is_a_picture_whatever_there_is():
    diverged = OutcomePoint(label="full lr=9", name="full", seeds=(0, 1), outcome=measure(*_diverged()))
    assert math.isnan(diverged.outcome.expected.value)
    assert ranked([diverged, *points()])[-1] is diverged
    for shown in (points(), [*points(), diverged], points()[:1], [diverged]):
        assert draw_outcomes(shown, "title").startswith(b"\x89PNG")


def _diverged():
    logits, answers, examples = ensemble(0, num=2)
    logits[1] = math.nan
    return logits, answers, examples
