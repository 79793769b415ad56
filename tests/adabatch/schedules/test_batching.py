"""How an update is divided over ranks and micro-batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.schedules.batching import split_update


@pytest.mark.parametrize(
    ("samples", "ranks", "cap", "expected"),
    [
        (128, 1, None, ((128,),)),
        (300, 1, 128, ((100, 100, 100),)),
        (10, 3, None, ((4,), (3,), (3,))),
        (10, 3, 2, ((2, 2), (2, 1), (2, 1))),
        (2, 4, None, ((1,), (1,), (0,), (0,))),
        (524_288, 256, 512, tuple(((512,) * 4,) * 256)),
    ],
)
def test_by_hand(samples, ranks, cap, expected):
    assert split_update(samples, ranks, cap).micro_batches == expected


@given(st.integers(1, 5000), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 300)))
def test_rules(samples, ranks, cap):
    split = split_update(samples, ranks, cap)
    sizes = [size for share in split.micro_batches for size in share]
    assert sum(sizes) == samples
    assert len({len(share) for share in split.micro_batches}) == 1
    assert max(sizes) == split.micro_batch_size <= (cap or samples)
    shares = [sum(share) for share in split.micro_batches]
    assert max(shares) - min(shares) <= 1
    assert [split.rank_start(rank) for rank in range(ranks)] == [sum(shares[:rank]) for rank in range(ranks)]
    if cap and split.accumulation_steps > 1:
        assert (split.accumulation_steps - 1) * cap < max(shares)


def test_impossible_counts_are_refused():
    for wrong in ((0, 1, None), (1, 0, None), (1, 1, 0)):
        with pytest.raises(ValueError, match="cannot split"):
            split_update(*wrong)
