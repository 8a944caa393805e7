from drpt.data.order import rows_of_step


def order(step, seed=0, stream="general", pool=10, count=3):
    return rows_of_step(pool_size=pool, count=count, step=step, seed=seed, stream=stream)


def test_an_epoch_takes_no_example_twice():
    epoch = [i for step in range(3) for i in order(step)]
    assert len(set(epoch)) == 9


def test_epochs_seeds_and_streams_differ():
    assert order(0) != order(3)
    assert order(0) != order(0, seed=1)
    assert order(0) != order(0, stream="target")


def test_a_step_is_the_same_whenever_it_is_asked_for():
    assert order(7) == order(7)
    assert [order(step) for step in (5, 1)] == [order(step) for step in (1, 5)][::-1]
