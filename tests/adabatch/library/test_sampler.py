"""The sampler of growing batches: which samples, in which micro-batches, with which weight; where it resumes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from adabatch import BatchSchedule, ConfigError, GrowingBatchSampler
from adabatch.data.order import epoch_order
from tests.adabatch.library.two_ranks import train


def growing(num_samples: int = 20, num_epochs: int = 3, **arguments: Any) -> BatchSchedule:
    """Batches of 4, 8 and 16 samples in epochs 1, 2 and 3."""
    given = {"batch_size": 4, "every_epochs": 1, "learning_rate_decay": 1.0, **arguments}
    return BatchSchedule("adabatch", num_train_samples=num_samples, num_epochs=num_epochs, learning_rate=0.1, **given)


def sizes_of(sampler: GrowingBatchSampler) -> list[list[list[int]]]:
    """Return the numbers of samples that count, by epoch, update and micro-batch."""
    return [[[micro.num_samples for micro in update] for update in sampler.updates(sampler)] for _ in sampler.epochs()]


def test_batches_grow_from_epoch_to_epoch_and_end_with_what_is_left() -> None:
    assert sizes_of(GrowingBatchSampler(20, growing())) == [
        [[4], [4], [4], [4], [4]],
        [[8], [8], [4]],
        [[16], [4]],
    ]


def test_partial_batches_can_be_dropped() -> None:
    sampler = GrowingBatchSampler(20, growing(), partial_batch="drop")
    assert sizes_of(sampler) == [[[4], [4], [4], [4], [4]], [[8], [8]], [[16]]]
    assert (sampler.progress.samples, sampler.progress.updates) == (20 + 16 + 16, 8)


def test_a_capped_micro_batch_is_accumulated_evenly() -> None:
    sampler = GrowingBatchSampler(20, growing(), max_micro_batch_size=6)
    # 16 samples need three micro-batches of at most 6
    assert sizes_of(sampler)[2] == [[6, 5, 5], [4]]


def test_the_length_is_that_of_the_epoch_wherever_the_loop_is() -> None:
    sampler = GrowingBatchSampler(20, growing(), max_micro_batch_size=6)
    lengths = []
    for _ in sampler.epochs():
        lengths.append(len(sampler))
        for update in sampler.updates(sampler):
            for _ in update:
                assert len(sampler) == lengths[-1]
    # 5 updates of one; 8 = 4 + 4 twice and 4 once; 16 = 6 + 5 + 5 and 4
    assert lengths == [5, 5, 4]


def test_weights_are_shares_of_the_update_times_the_ranks() -> None:
    schedule = BatchSchedule(
        "fixed", num_train_samples=5, num_epochs=1, learning_rate=0.1, batch_size=5, every_epochs=1
    )
    plans = [
        list(GrowingBatchSampler(5, schedule, rank=rank, world_size=2, max_micro_batch_size=1).plan())
        for rank in (0, 1)
    ]
    # Rank 0 has three of five samples, rank 1 two and a placeholder.
    assert [[plan.num_samples for plan in of_rank] for of_rank in plans] == [[1, 1, 1], [1, 1, 0]]
    assert [[plan.weight for plan in of_rank] for of_rank in plans] == [[0.4, 0.4, 0.4], [0.4, 0.4, 0.0]]
    assert [[plan.ends_update for plan in of_rank] for of_rank in plans] == [[False, False, True]] * 2
    assert all(len(plan.indices) == 1 for of_rank in plans for plan in of_rank)


def test_the_order_is_that_of_the_trainer() -> None:
    sampler = GrowingBatchSampler(20, growing(), seed=7)
    for epoch in sampler.epochs():
        order = [index for update in sampler.updates(sampler) for micro in update for index in micro.batch]
        assert order == epoch_order(20, 7, epoch).tolist()


SCHEDULES = st.one_of(
    st.builds(
        growing,
        num_samples=st.integers(1, 60),
        batch_size=st.integers(1, 30),
        batch_growth=st.floats(0.4, 4),
        max_batch_size=st.one_of(st.none(), st.integers(30, 50)),
    ),
    st.builds(
        lambda num_samples, final: BatchSchedule(
            "linear_ramp", num_train_samples=num_samples, num_epochs=3, learning_rate=0.1, batch_size=3,
            final_batch_size=final,
        ),
        num_samples=st.integers(1, 60),
        final=st.integers(4, 40),
    ),
)  # fmt: skip


@given(
    schedule=SCHEDULES,
    cap=st.one_of(st.none(), st.integers(1, 12)),
    world_size=st.integers(1, 4),
    partial_batch=st.sampled_from(["keep", "drop"]),
    stop_after=st.integers(0, 20),
)
def test_every_sample_is_used_once_an_epoch_over_all_ranks_and_resumes(
    schedule: BatchSchedule, cap: int | None, world_size: int, partial_batch: str, stop_after: int
) -> None:
    """All ranks stop after some updates; new samplers, of another number of ranks, go on from the saved state."""
    num_samples = schedule.num_train_samples

    def ranks_of(count: int) -> list[GrowingBatchSampler]:
        facts: dict[str, Any] = {"max_micro_batch_size": cap, "partial_batch": partial_batch, "world_size": count}
        schedules = [
            BatchSchedule.from_config(schedule.config, num_train_samples=num_samples, num_epochs=3, learning_rate=0.1)
            for _ in range(count)
        ]
        return [GrowingBatchSampler(num_samples, one, rank=rank, **facts) for rank, one in enumerate(schedules)]

    used: dict[int, Counter[int]] = {epoch: Counter() for epoch in (1, 2, 3)}

    def train(samplers: list[GrowingBatchSampler], most: int | None) -> None:
        for updates in itertools.islice(zip(*map(all_updates, samplers), strict=True), most):
            micros = [list(update) for update in updates]
            assert len({len(of_rank) for of_rank in micros}) == 1  # else collectives would not match
            weights = sum(micro.weight for of_rank in micros for micro in of_rank)
            assert weights == pytest.approx(len(samplers))
            assert sum(micro.num_samples for of_rank in micros for micro in of_rank) == updates[0].num_samples
            for micro in itertools.chain(*micros):
                assert cap is None or len(micro.batch) <= cap
                used[updates[0].epoch].update(micro.batch if micro.num_samples else [])

    first = ranks_of(world_size)
    train(first, stop_after)
    states = [json.dumps(sampler.state_dict()) for sampler in first]
    assert len(set(states)) == 1
    others = ranks_of(5 - world_size)
    for sampler in others:
        sampler.load_state_dict(json.loads(states[0]))
    train(others, None)
    for epoch, counts in used.items():
        assert set(counts.values()) <= {1}
        kept = others[0].schedule.at((epoch - 1) * num_samples).batch_size
        assert len(counts) == num_samples if partial_batch == "keep" else len(counts) <= num_samples
        if schedule.config.kind == "stepwise" and partial_batch == "drop":
            assert len(counts) == num_samples // kept * kept


def all_updates(sampler: GrowingBatchSampler) -> Iterator[Any]:
    for _ in sampler.epochs():
        yield from sampler.updates(sampler)


def test_gradients_averaged_over_uneven_ranks_are_the_mean_over_the_update() -> None:
    inputs, targets = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def gradient(indices: list[int], factor: float) -> torch.Tensor:
        loss = ((inputs[indices] @ weights - targets[indices]) ** 2).mean()
        (result,) = torch.autograd.grad(factor * loss, weights)
        return result

    samplers = [
        GrowingBatchSampler(20, growing(batch_size=7), rank=rank, world_size=3, max_micro_batch_size=2)
        for rank in range(3)
    ]
    order = epoch_order(20, 0, 1).tolist()
    for start, updates in zip((0, 7, 14), zip(*map(all_updates, samplers), strict=False), strict=False):
        averaged = sum(gradient(micro.batch, micro.weight) for update in updates for micro in update) / 3
        torch.testing.assert_close(averaged, gradient(order[start : start + 7], 1.0))


@pytest.mark.slow
def test_two_ranks_with_uneven_micro_batches_train_like_one_process(tmp_path: Path) -> None:
    script = Path(__file__).parent / "two_ranks.py"
    ranks = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE)
        for rank in (0, 1)
    ]
    answers = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]
    assert answers[0] == answers[1] == pytest.approx(train(), rel=1e-12)


def loader_of(sampler: GrowingBatchSampler, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(20)), batch_sampler=sampler, **options)


def batches_of(update: Any) -> list[list[int]]:
    return [micro.batch if isinstance(micro.batch[0], int) else micro.batch[0].tolist() for micro in update]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_a_loader_with_workers_resumes_with_the_batches_that_were_not_used(options: dict[str, Any]) -> None:
    whole = [batches_of(update) for update in all_updates(GrowingBatchSampler(20, growing(), max_micro_batch_size=6))]
    sampler = GrowingBatchSampler(20, growing(), max_micro_batch_size=6)
    loader = loader_of(sampler, **options)
    seen, state = [], {}
    for _ in sampler.epochs():
        for update in sampler.updates(loader):
            seen.append(batches_of(update))
            if len(seen) == 6:  # in epoch 2; the workers have loaded all of it by now
                state = sampler.state_dict()
                break
        if state:
            break
    resumed = GrowingBatchSampler(20, growing(), max_micro_batch_size=6)
    resumed.load_state_dict(state)
    loader = loader_of(resumed, **options)
    rest = [batches_of(update) for _ in resumed.epochs() for update in resumed.updates(loader)]
    assert seen + rest == whole
    assert resumed.schedule.progress == resumed.progress


def test_a_state_saved_within_an_update_repeats_it_and_one_saved_behind_the_last_repeats_nothing() -> None:
    sampler = GrowingBatchSampler(20, growing(), max_micro_batch_size=2)
    updates = sampler.updates(sampler)
    first = next(updates)
    next(iter(first))
    assert sampler.state_dict()["progress"] == {"epoch": 1, "samples_in_epoch": 0, "samples": 0, "updates": 0}
    sampler = GrowingBatchSampler(20, growing())
    for update in sampler.updates(sampler):
        list(update)
        state = sampler.state_dict()
    assert state["progress"] == {"epoch": 1, "samples_in_epoch": 20, "samples": 20, "updates": 5}
    resumed = GrowingBatchSampler(20, growing())
    resumed.load_state_dict(state)
    # Epoch 1 comes again, without updates: it has yet to be tested and recorded.
    assert [(epoch, len(list(map(list, resumed.updates(resumed))))) for epoch in resumed.epochs()] == [
        (1, 0),
        (2, 3),
        (3, 2),
    ]


def test_the_rate_is_that_of_the_update_before_and_after_its_micro_batches() -> None:
    schedule = growing(learning_rate_decay=0.5)
    sampler = GrowingBatchSampler(20, schedule)
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    rates = []
    for _ in sampler.epochs():
        for update in sampler.updates(sampler):
            before = schedule.apply(sgd).learning_rate
            list(update)
            after = schedule.apply(sgd).learning_rate
            assert before == after == update.learning_rate == sgd.param_groups[0]["lr"]
            rates.append(after)
    assert rates == pytest.approx([0.1] * 5 + [0.05] * 3 + [0.025] * 2)


def test_loops_that_would_count_wrongly_are_stopped() -> None:
    sampler = GrowingBatchSampler(20, growing())
    with pytest.raises(RuntimeError, match="were not all used"):
        list(sampler.updates(sampler))
    sampler = GrowingBatchSampler(20, growing())
    with pytest.raises(RuntimeError, match="has more batches than this sampler"):
        [list(update) for update in sampler.updates([[0]] * 6)]
    sampler = GrowingBatchSampler(20, growing())
    with pytest.raises(RuntimeError, match="has fewer batches than this sampler"):
        [list(update) for update in sampler.updates([[0]] * 4)]
    sampler = GrowingBatchSampler(20, growing())
    with pytest.raises(RuntimeError, match="epoch 1 was not iterated over"):
        list(sampler.epochs())
    update = next(sampler.updates(sampler))
    list(update)
    with pytest.raises(RuntimeError, match="once"):
        list(update)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dataset": 21}, "num_train_samples is 20; it must be 21, the length of the data set"),
        ({"max_micro_batch_size": 0}, "max_micro_batch_size is 0; it must be None or at least 1"),
        ({"partial_batch": "pad"}, "partial_batch is pad; it must be one of keep, drop"),
        ({"rank": 2, "world_size": 2}, "rank is 2; it must be from 0 to 1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        GrowingBatchSampler(**{"dataset": 20, "schedule": growing(), **arguments})


def test_a_state_of_another_seed_or_schedule_is_refused() -> None:
    state = GrowingBatchSampler(20, growing(), seed=1).state_dict()
    with pytest.raises(ConfigError, match="seed is 2; it must be 1, as in the saved state"):
        GrowingBatchSampler(20, growing(), seed=2).load_state_dict(state)
    with pytest.raises(ConfigError, match="schedule.batch_size is 5; it must be 4"):
        GrowingBatchSampler(20, growing(batch_size=5), seed=1).load_state_dict(state)
