"""The count of work: small cases worked by hand, and what must hold of any shape."""

import pytest

from drpt.capture.options import ProductsMethod
from drpt.capture.products.cost import EXACT, Cost, Need, ParameterShape, UseShape, compared_vectors, totals

REDUCED, PAIRWISE, DIRECT = EXACT


def linear(left, right, *, tokens, n, m):
    return ParameterShape(left, right, (UseShape(n * tokens, m * tokens, False),), n, m)


def table(left, right, *, tokens, n, m):
    return ParameterShape(left, right, (UseShape(n * tokens, m * tokens, True),), n, m)


def tied(left, right, *, tokens, n, m):
    return ParameterShape(left, right, tuple(UseShape(n * tokens, m * tokens, ids) for ids in (True, False)), n, m)


def test_alignment_of_a_linear_layer():
    """[3, 5], n = 2 and m = 1 rows of 4 tokens: 12 tokens, 4 of them target tokens, an area of 15.

    reduced: V takes 4·15 and mapping the 8 general tokens 8·15: 180. Written: the sum, the mean and its square, 3·15 numbers,
    and 8 tokens mapped to the narrower side, 8·3: 69 numbers of 4 bytes.
    pairwise: 12·4 pairs of 3 + 5 multiplications: 384. Written: 48 pairs, both factors and their product: 144 numbers.
    direct: 12·15 for the three gradients, 3·15 to compare them with v: 225. Written: 3 gradients, twice: 90 numbers.
    """
    shape = linear(3, 5, tokens=4, n=2, m=1)
    assert shape.alignment(REDUCED) == Cost(180, 4 * 69)
    assert shape.alignment(PAIRWISE) == Cost(384, 4 * 144)
    assert shape.alignment(DIRECT) == Cost(225, 4 * 90)


def test_gramian_of_a_linear_layer():
    """[3, 5], the n = 2 general rows of 4 tokens: 8 tokens.

    reduced: both gradients, 8·15, and all 8 tokens mapped through each, 2·8·15: 360. Written: 2 (15 + 8·3) = 78 numbers.
    pairwise: 8² pairs of 8: 512. Written: 3·64 numbers.
    direct: 8·15 for the gradients, 2²·15 to compare them: 180. Written: 2 gradients, twice: 60 numbers.
    """
    shape = linear(3, 5, tokens=4, n=2, m=1)
    assert shape.gramian(REDUCED, 2) == Cost(360, 4 * 78)
    assert shape.gramian(PAIRWISE, 2) == Cost(512, 4 * 192)
    assert shape.gramian(DIRECT, 2) == Cost(180, 4 * 60)


def test_ids_cost_no_multiplication_by_the_vocabulary():
    """A table [100, 5] and the same 12 tokens, 4 of them target tokens, n = 2, m = 1.

    reduced: rows of V are added up and picked, 5 numbers a token: 12·5 = 60. Written: 3·500 and 8·5: 1540 numbers.
    pairwise: whether ids are equal costs nothing, 12·4 pairs of 5: 240.
    direct: at most 12 rows of a gradient differ from zero, 3 gradients of 12·5: 12·5 + 180 = 240. Written: 2·180 numbers.
    """
    shape = table(100, 5, tokens=4, n=2, m=1)
    assert shape.alignment(REDUCED) == Cost(60, 4 * 1540)
    assert shape.alignment(PAIRWISE) == Cost(240, 4 * 144)
    assert shape.alignment(DIRECT) == Cost(240, 4 * 360)


def test_pairs_of_a_tied_heads_tokens_cost_the_vocabulary():
    """[100, 5], table and head with 12 tokens each, 4 of them target tokens.

    pairwise: all 24·8 pairs of tokens compare right factors, 5 each: 960; the head's 12·4 pairs compare output gradients as
    well, 100 each: 4800. An id beside an output gradient picks a number of it.
    reduced: the table's 12·5, the head's 12·500: 6060. Written: two uses' sums, their sum, the mean and its square, 5·500,
    and 16·5 numbers mapped.
    direct: 6060 for the gradients and 3·500 to compare them; any row may differ from zero. Written: 1500 numbers, twice a use.
    """
    shape = tied(100, 5, tokens=4, n=2, m=1)
    assert shape.alignment(PAIRWISE) == Cost(5760, 4 * 3 * 24 * 8)
    assert shape.alignment(REDUCED) == Cost(6060, 4 * 2580)
    assert shape.alignment(DIRECT) == Cost(7560, 4 * 6000)


def test_sketches():
    """[3, 5] made 2 × 4 wide, 12 tokens, 3 examples.

    12 tokens: 3·2 and 5·4 to make both factors short, 2·4 for their outer product: 408; 3² inner products of 8: 72.
    Written: 12·(2 + 4) and 3·8 numbers. A side that is left as it is, or looked up by ids, costs nothing to make short.
    """
    assert linear(3, 5, tokens=4, n=2, m=1).sketch(2, 4) == Cost(480, 4 * 96)
    assert linear(3, 5, tokens=4, n=2, m=1).sketch(3, 5) == Cost(12 * 15 + 9 * 15, 4 * (12 * 8 + 45))
    assert table(100, 5, tokens=4, n=2, m=1).sketch(2, 4).multiplications == 12 * (20 + 8) + 72
    assert tied(100, 5, tokens=4, n=2, m=1).sketch(2, 4).multiplications == 12 * 200 + 24 * (20 + 8) + 72


def test_small_vectors_are_compared_as_they_are():
    """Rows of 7 numbers, n = 3, m = 2: 4 inner products for alignments and <v, v>, 9 more for the gramian, 25 for all."""
    counts = {need: compared_vectors(7, need, num_general=3, num_target=2) for need in Need}
    assert counts == {Need.ALIGNMENT: Cost(28, 140), Need.GRAMIAN: Cost(91, 140), Need.JOINT: Cost(175, 140)}


def test_needs_are_made_of_alignment_and_gramian():
    shape = linear(6, 5, tokens=4, n=3, m=2)
    for method in (REDUCED, PAIRWISE):
        both = shape.alignment(method) + shape.gramian(method, 3)
        assert shape.cost(method, Need.GRAMIAN) == both
    # The gradients are formed once, of all examples.
    assert shape.cost(DIRECT, Need.GRAMIAN) == shape.gramian(DIRECT, 5)
    for method in EXACT:
        assert shape.cost(method, Need.JOINT) == shape.gramian(method, 5)
        assert shape.cost(method, Need.ALIGNMENT) == shape.alignment(method)


def test_standard_step():
    """[3, 5], n = 2 rows of 4 tokens and m = 1 more: 3·8·15 = 360; ours 2·12·15 and the update over k = 1 row, 4·15: 420."""
    assert linear(3, 5, tokens=4, n=2, m=1).step(kept_examples=1.0) == (360, 420)
    assert table(3, 5, tokens=4, n=2, m=1).step(kept_examples=1.0) == (0, 0)
    assert tied(3, 5, tokens=4, n=2, m=1).step(kept_examples=1.0) == (360, 420)


def test_totals():
    assert totals([Cost(1, 2), Cost(3, 4)]) == totals({"a": Cost(1, 2), "b": Cost(3, 4)}) == Cost(4, 6)
    assert totals([]) == Cost(0, 0)


@pytest.mark.parametrize("need", Need)
@pytest.mark.parametrize("size", [576, 2048])
def test_short_rows_of_large_matrices_are_compared_in_pairs_and_long_ones_are_not(need, size):
    assert linear(size, size, tokens=8, n=8, m=1).cheapest(need) is PAIRWISE
    assert linear(size, size, tokens=4 * size, n=8, m=1).cheapest(need) in (
        {REDUCED, DIRECT} if need is Need.ALIGNMENT else {DIRECT}
    )


@pytest.mark.parametrize("make", [linear, table, tied])
@pytest.mark.parametrize("need", Need)
def test_pairwise_is_left_once_and_for_ever_as_rows_grow(make, need):
    chosen = [make(4096, 256, tokens=2**power, n=8, m=2).cheapest(need) for power in range(16)]
    assert chosen[0] is PAIRWISE
    assert chosen[-1] is not PAIRWISE
    is_pairwise = [method is PAIRWISE for method in chosen]
    assert is_pairwise == sorted(is_pairwise, reverse=True)


@pytest.mark.parametrize("need", Need)
def test_work_grows_with_tokens_linearly_or_as_their_square(need):
    """Doubling the rows' length doubles what is mapped through matrices, and makes four times as many pairs."""
    short, long = (linear(300, 200, tokens=tokens, n=4, m=2) for tokens in (1000, 2000))
    assert long.cost(PAIRWISE, need).multiplications == 4 * short.cost(PAIRWISE, need).multiplications
    for method in (REDUCED, DIRECT):
        ratio = long.cost(method, need).multiplications / short.cost(method, need).multiplications
        assert 1.9 < ratio <= 2.0


@pytest.mark.parametrize("method", EXACT)
def test_a_tied_parameter_costs_more_than_either_use(method):
    for need in Need:
        both = tied(50, 20, tokens=16, n=3, m=2).cost(method, need)
        for alone in (linear(50, 20, tokens=16, n=3, m=2), table(50, 20, tokens=16, n=3, m=2)):
            assert both.multiplications > alone.cost(method, need).multiplications


def test_moved_bytes_count():
    """Adding up rows of a table is no work to speak of; clearing and writing a dense one is."""
    shape = table(50_000, 576, tokens=16, n=8, m=1)
    assert shape.alignment(REDUCED).multiplications < shape.alignment(PAIRWISE).multiplications
    assert shape.cheapest(Need.ALIGNMENT) is ProductsMethod.PAIRWISE
