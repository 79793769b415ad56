"""The order of an epoch's samples."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from adabatch.data.order import derived_seed, epoch_order

SEEDS = st.integers(0, 2**31 - 1)
EPOCHS = st.integers(0, 10_000)


@given(num_samples=st.integers(0, 500), seed=SEEDS, epoch=EPOCHS)
def test_every_sample_once(num_samples, seed, epoch):
    order = epoch_order(num_samples, seed, epoch)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(num_samples))
    assert torch.equal(order, epoch_order(num_samples, seed, epoch))


@given(first=st.tuples(SEEDS, EPOCHS), second=st.tuples(SEEDS, EPOCHS))
def test_orders_differ_between_seeds_and_epochs(first, second):
    assert torch.equal(epoch_order(200, *first), epoch_order(200, *second)) == (first == second)


def test_seed_and_epoch_do_not_mix():
    # sums and products of the two would: 1 + 11 and 11 + 1, 1 * 11 and 11 * 1
    assert len({derived_seed("order", *pair) for pair in ((1, 11), (11, 1), (111, 0), (0, 12), (1, 12))}) == 5


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = epoch_order(50, 1, 1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(first, epoch_order(50, 1, 1))
