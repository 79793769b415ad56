"""Rules of the open-loop family, by hand-computed numbers and as properties."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.config import RampScheduleConfig, ScheduleConfig, StepwiseScheduleConfig
from adabatch.errors import ConfigError
from adabatch.schedules import Schedule, plan_updates, tabulate
from adabatch.schedules.progress import Progress


def stepwise(**values) -> StepwiseScheduleConfig:
    return StepwiseScheduleConfig(**{"batch_size": 100, "every_epochs": 2, **values})


def ramp(**values) -> RampScheduleConfig:
    return RampScheduleConfig(**{"batch_size": 100, "final_batch_size": 500, **values})


def at(config: ScheduleConfig, epoch: int, samples_in_epoch: int = 0, *, samples: int = 10_000, epochs: int = 10):
    schedule = config.build(0.1, samples, epochs)
    return schedule.decide(Progress(epoch=epoch, samples_in_epoch=samples_in_epoch))


def test_milestones_are_the_epochs_after_which_something_changes():
    config = stepwise(every_epochs=None, milestones=[1, 4], batch_growth=3)
    assert [at(config, epoch).batch_size for epoch in range(1, 7)] == [100, 300, 300, 300, 900, 900]


def stages(**values) -> StepwiseScheduleConfig:
    given = {"batch_size": 16, "batch_sizes": [16, 32, 128], "milestones": [1, 3]}
    return StepwiseScheduleConfig(**{**given, **values})


def test_explicit_stages_are_coupled_to_the_learning_rate_boundary_by_boundary():
    config = stages(learning_rate_decay=0.75)
    decisions = [at(config, epoch) for epoch in range(1, 6)]
    assert [decision.batch_size for decision in decisions] == [16, 32, 32, 128, 128]
    expected = [0.1, 0.075, 0.075, 0.05625, 0.05625]
    assert [decision.learning_rate for decision in decisions] == pytest.approx(expected, rel=1e-12)
    # The twin's rate is multiplied by 0.75 / 2, then by 0.75 / 4.
    assert config.twin().learning_rate_decays == [0.375, 0.1875]
    twin = [at(config.twin(), epoch) for epoch in range(1, 6)]
    assert [decision.batch_size for decision in twin] == [16] * 5
    expected = [0.1, 0.0375, 0.0375, 0.00703125, 0.00703125]
    assert [decision.learning_rate for decision in twin] == pytest.approx(expected, rel=1e-12)


def test_each_boundary_may_have_its_own_decay():
    config = stages(learning_rate_decays=[0.5, 0.1], learning_rate_exponent=0.5)
    rates = [at(config, epoch).learning_rate for epoch in (1, 2, 4)]
    assert rates == pytest.approx([0.1, 0.05, 0.005], rel=1e-12)
    # 0.5 / 2**0.5, and 0.1 / 4**0.5
    assert config.twin().learning_rate_decays == pytest.approx([math.sqrt(0.125), 0.05], rel=1e-12)


def test_a_stage_beyond_the_cap_becomes_decay():
    config = stages(max_batch_size=64)
    decision = at(config, 4)
    assert (decision.batch_size, decision.learning_rate) == (64, pytest.approx(0.05, rel=1e-12))


def test_stages_after_the_last_epoch_never_come():
    assert [at(stages(), epoch, epochs=3).batch_size for epoch in (1, 2, 3, 4)] == [16, 32, 32, 32]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batch_sizes": [16, 32]}, "schedule.batch_sizes is [16, 32]; it must be a list of 3, one for each stage"),
        ({"batch_sizes": [16, 0, 32]}, "schedule.batch_sizes is [16, 0, 32]; it must be null or a list of whole"),
        ({"batch_size": 8}, "schedule.batch_size is 8; it must be 16, the first of schedule.batch_sizes"),
        ({"batch_growth": 2.0}, "schedule.batch_growth is 2; it must be 1 where schedule.batch_sizes is given"),
        ({"milestones": None, "every_epochs": 3}, "schedule.milestones is null; it must be a list where"),
        ({"learning_rate_decays": [0.5]}, "schedule.learning_rate_decays is [0.5]; it must be a list of 2, one for"),
        ({"learning_rate_decays": [0.5, -1.0]}, "schedule.learning_rate_decays is [0.5, -1.0]; it must be null or"),
        (
            {"learning_rate_decays": [0.5, 0.5], "learning_rate_decay": 0.5},
            "schedule.learning_rate_decay is 0.5; it must be 1 where schedule.learning_rate_decays is given",
        ),
    ],
)
def test_stages_that_contradict_each_other_are_refused(values, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        stages(**values)


def test_nothing_changes_after_the_last_epoch():
    assert at(stepwise(every_epochs=10, batch_growth=2), 11).batch_size == 100


def test_growth_refused_by_a_cap_becomes_decay_by_the_same_factor():
    config = stepwise(batch_growth=2, learning_rate_decay=0.75, max_batch_size=200)
    decisions = [at(config, epoch) for epoch in (1, 3, 5, 7)]
    assert [decision.batch_size for decision in decisions] == [100, 200, 200, 200]
    expected = [0.1, 0.075, 0.075 * 0.375, 0.075 * 0.375**2]
    assert [decision.learning_rate for decision in decisions] == pytest.approx(expected, rel=1e-12)


def test_the_data_set_is_a_cap_too():
    config = stepwise(batch_growth=4, learning_rate_decay=1)
    decision = at(config, 3, samples=150)
    assert decision.batch_size == 150
    assert decision.learning_rate == pytest.approx(0.1 * 1.5 / 4, rel=1e-12)


def test_a_first_batch_larger_than_the_data_set_is_clipped_with_its_learning_rate():
    decision = at(stepwise(), 1, samples=25)
    assert (decision.batch_size, decision.learning_rate) == (25, pytest.approx(0.025))


def test_growth_by_a_factor_that_is_no_integer_rounds_to_the_nearest_batch_and_the_rate_follows():
    config = stepwise(batch_growth=1.5, learning_rate_decay=1.5, batch_size=7)
    decisions = [at(config, epoch) for epoch in (1, 3, 5)]
    # 7, 10.5, 15.75: halves go up
    assert [decision.batch_size for decision in decisions] == [7, 11, 16]
    expected = [0.1, 0.1 * 11 / 7, 0.1 * 16 / 7]
    assert [decision.learning_rate for decision in decisions] == pytest.approx(expected, rel=1e-12)


def test_decreasing_batches_never_fall_below_one_sample():
    config = stepwise(batch_growth=0.1, batch_size=20)
    assert [at(config, epoch).batch_size for epoch in (1, 3, 5, 7)] == [20, 2, 1, 1]


def test_warm_up_rises_per_update_to_the_ratio_of_the_batches_and_stays():
    config = stepwise(batch_size=1000, every_epochs=20, warmup_epochs=5, warmup_base_batch_size=125)
    assert at(config, 1).learning_rate == pytest.approx(0.1)
    assert at(config, 1, 5000).learning_rate == pytest.approx(0.1 * (1 + 7 * 0.1))
    assert at(config, 3).learning_rate == pytest.approx(0.1 * (1 + 7 * 0.4))
    assert at(config, 6).learning_rate == pytest.approx(0.8)
    assert at(config, 9, 5000).learning_rate == pytest.approx(0.8)


def test_warm_up_follows_the_exponent_of_the_batch():
    config = stepwise(batch_size=800, warmup_epochs=5, warmup_base_batch_size=200, learning_rate_exponent=0.5)
    # four times the batch goes with twice the rate; the boundary behind epoch 2 leaves it alone
    assert at(config, 1, 5000).learning_rate == pytest.approx(0.1 * (1 + 1 * 0.1))


def test_a_boundary_within_the_warm_up_loses_neither_decay_nor_warm_up():
    config = stepwise(batch_size=1000, warmup_epochs=4, warmup_base_batch_size=500, learning_rate_decay=0.5)
    assert at(config, 3).learning_rate == pytest.approx(0.1 * 1.5 * 0.5)


def test_increasing_instead_of_decaying_keeps_the_rate_until_the_cap():
    config = stepwise(batch_growth=5, learning_rate_decay=1, max_batch_size=1000)
    rates = [at(config, epoch).learning_rate for epoch in (1, 3, 5, 7)]
    assert rates == pytest.approx([0.1, 0.1, 0.1 * 0.4, 0.1 * 0.08], rel=1e-12)


def test_seesaw_is_tied_by_the_root_of_the_batch():
    config = stepwise(batch_growth=2, learning_rate_decay=math.sqrt(0.5), learning_rate_exponent=0.5)
    decision = at(config, 5)
    assert (decision.batch_size, decision.learning_rate) == (400, pytest.approx(0.05))
    assert config.twin().learning_rate_decay == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "power", "quarter", "half"),
    [("linear", 1, 200, 300), ("polynomial", 2, 125, 200), ("cosine", 1, 159, 300)],
)
def test_ramps_follow_the_samples_seen(shape, power, quarter, half):
    config = ramp(shape=shape, power=power)
    # 10 epochs of 10,000 samples: a quarter is 5,000 samples into epoch 3; cosine: 100 + 400 * 0.14645 = 158.6
    assert [at(config, 1).batch_size, at(config, 3, 5000).batch_size, at(config, 6).batch_size] == [
        100,
        quarter,
        half,
    ]
    assert at(config, 11).batch_size == 500


def test_a_ramp_over_fewer_epochs_or_samples_stays_at_its_end():
    assert at(ramp(ramp_epochs=2), 3).batch_size == 500
    assert at(ramp(ramp_samples=5_000), 1, 2_500).batch_size == 300
    assert at(ramp(ramp_samples=5_000), 2).batch_size == 500


def test_a_ramp_takes_multiples_on_its_way():
    config = ramp(batch_size=100, final_batch_size=500, batch_size_multiple=50, learning_rate_decay=5)
    batches = [at(config, epoch).batch_size for epoch in range(1, 12)]
    # 100, 140, 180, 220, ... go to the nearest multiple of 50, halves up
    assert batches == [100, 150, 200, 200, 250, 300, 350, 400, 400, 450, 500]
    # the learning rate follows the batch that is realised
    assert [at(config, epoch).learning_rate / at(config, epoch).batch_size for epoch in (2, 3, 4)] == pytest.approx(
        [0.1 / 100] * 3
    )
    with pytest.raises(ConfigError, match="schedule.batch_size_multiple is 30; it must be at least 1 and divide"):
        ramp(batch_size_multiple=30)


def test_a_ramp_ends_with_its_total_decay():
    assert at(ramp(learning_rate_decay=0.3), 11).learning_rate == pytest.approx(0.03, rel=1e-12)


def test_partial_batches_are_kept_or_dropped():
    schedule = stepwise().build(0.1, 250, 1)
    kept = list(plan_updates(schedule, Progress(), 250, "keep"))
    assert [(update.start, update.num_samples) for update in kept] == [(0, 100), (100, 100), (200, 50)]
    assert [update.num_samples for update in plan_updates(schedule, Progress(), 250, "drop")] == [100, 100]


def test_a_plan_goes_on_from_the_middle_of_an_epoch():
    schedule = ramp().build(0.1, 1000, 3)
    whole = list(plan_updates(schedule, Progress(epoch=2), 1000, "keep"))
    rest = list(plan_updates(schedule, Progress(epoch=2, samples_in_epoch=whole[2].start), 1000, "keep"))
    assert rest == whole[2:]


SCHEDULES = st.one_of(
    st.builds(
        StepwiseScheduleConfig,
        batch_size=st.integers(1, 300),
        batch_growth=st.floats(0.3, 5),
        learning_rate_decay=st.floats(0.1, 2),
        learning_rate_exponent=st.sampled_from([0.0, 0.5, 1.0]),
        every_epochs=st.integers(1, 4),
        max_batch_size=st.one_of(st.none(), st.integers(300, 800)),
        warmup_epochs=st.integers(0, 3),
        warmup_base_batch_size=st.integers(1, 300),
    ),
    st.builds(
        lambda sizes, decays, **values: StepwiseScheduleConfig(
            batch_size=sizes[0], batch_sizes=sizes, milestones=[1, 3], learning_rate_decays=decays, **values
        ),
        sizes=st.lists(st.integers(1, 300), min_size=3, max_size=3),
        decays=st.one_of(st.none(), st.lists(st.floats(0.1, 2), min_size=2, max_size=2)),
        learning_rate_exponent=st.sampled_from([0.0, 0.5, 1.0]),
        max_batch_size=st.one_of(st.none(), st.integers(300, 800)),
    ),
    st.builds(
        RampScheduleConfig,
        batch_size=st.integers(1, 300),
        final_batch_size=st.integers(301, 900),
        learning_rate_decay=st.floats(0.1, 2),
        shape=st.sampled_from(["linear", "polynomial", "cosine"]),
        power=st.floats(0.5, 3),
        ramp_epochs=st.one_of(st.none(), st.integers(1, 4)),
    ),
)


def build(config: ScheduleConfig, samples: int) -> Schedule:
    return config.build(0.1, samples, 6)


@given(SCHEDULES, st.integers(1, 700), st.integers(1, 6), st.floats(0, 1, exclude_max=True))
def test_the_twin_keeps_the_batch_and_the_rate_per_sample(config, samples, epoch, part):
    progress = Progress(epoch=epoch, samples_in_epoch=int(part * samples))
    adaptive, fixed = (build(each, samples).decide(progress) for each in (config, config.twin()))
    assert fixed.batch_size == min(config.batch_size, samples)
    exponent = config.learning_rate_exponent
    per_sample = [each.learning_rate / each.batch_size**exponent for each in (adaptive, fixed)]
    assert per_sample[0] == pytest.approx(per_sample[1], rel=1e-9)


@given(SCHEDULES)
def test_the_twin_of_a_twin_is_itself(config):
    assert config.twin().twin() == config.twin()


@given(SCHEDULES, st.integers(1, 700), st.sampled_from(["keep", "drop"]))
def test_the_table_agrees_with_the_updates(config, samples, partial_batch):
    schedule = build(config, samples)
    for row in tabulate(schedule, 6, samples, partial_batch):
        updates = list(plan_updates(schedule, Progress(epoch=row.epoch), samples, partial_batch))
        assert row.num_updates == len(updates)
        assert row.num_samples == sum(update.num_samples for update in updates)
        assert row.num_samples + row.samples_dropped == samples
        assert row.batch_size == updates[-1].batch_size
        assert row.learning_rate == updates[-1].learning_rate
        starts = [update.start for update in updates]
        assert starts == [sum(update.num_samples for update in updates[:n]) for n in range(len(updates))]


@given(SCHEDULES, st.integers(1, 700), st.integers(1, 6))
def test_no_batch_is_empty_or_exceeds_a_cap(config, samples, epoch):
    decision = build(config, samples).decide(Progress(epoch=epoch))
    assert 1 <= decision.batch_size <= min(samples, config.max_batch_size or samples)


def test_stateless_schedules_refuse_a_state():
    schedule = stepwise().build(0.1, 100, 1)
    assert schedule.state_dict() == {}
    with pytest.raises(ValueError, match="has no state"):
        schedule.load_state_dict({"batch_size": 3})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"batch_size": 0}, "schedule.batch_size is 0"),
        ({"batch_growth": 0.0}, "schedule.batch_growth is 0"),
        ({"batch_growth": float("nan")}, "schedule.batch_growth is nan"),
        ({"learning_rate_decay": -1.0}, "schedule.learning_rate_decay is -1"),
        ({"max_batch_size": 10}, "schedule.max_batch_size is 10"),
        ({"milestones": [1]}, "exactly one of the two"),
        ({"every_epochs": None, "milestones": [3, 2]}, "schedule.milestones is"),
        ({"warmup_epochs": -1}, "schedule.warmup_epochs is -1"),
        ({"learning_rate_exponent": 2.0}, "schedule.learning_rate_exponent is 2"),
    ],
)
def test_values_out_of_range_are_refused_by_name(values, key):
    with pytest.raises(ConfigError, match=key):
        stepwise(**values)


def test_a_ramp_that_does_not_grow_cannot_decay():
    with pytest.raises(ConfigError, match="schedule.learning_rate_decay"):
        ramp(final_batch_size=100, learning_rate_decay=0.5)
    assert dataclasses.replace(ramp(), final_batch_size=100).final_batch_size == 100
