"""Forecasts of seconds, by numbers worked out by hand, and by what must hold for any run."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.config.compose import compose
from adabatch.measure.forecast import count_updates, forecast, micro_batch_counts, sizes_to_measure
from adabatch.measure.times import Measurement, MicroBatchTime
from adabatch.schedules import plan_updates
from adabatch.schedules.progress import Progress
from tests.adabatch.support import TINY, line, not_none

BASE = compose(TINY)  # 60 samples, 20 test samples, 3 epochs, batches 8, 16, 32


def config(*words):
    return compose([*TINY, *words])


def test_a_line_is_read_between_and_beyond_its_points():
    measured = line([10, 20, 40], fixed=0.002, per_sample=0.0001)
    for size in (10, 15, 30, 40, 80):
        assert measured.micro_batch_seconds(size) == pytest.approx(0.002 + 0.0001 * size)
    # below the smallest size nothing is known to be faster
    assert measured.micro_batch_seconds(1) == pytest.approx(0.003)
    fit = not_none(measured.fit())
    assert (fit.fixed_seconds, fit.seconds_per_sample) == pytest.approx((0.002, 0.0001))
    assert fit.largest_misfit == pytest.approx(0, abs=1e-9)


def test_what_is_no_line_says_by_how_much():
    seconds = (0.001, 0.003, 0.004)
    rows = [MicroBatchTime(size, 0, 0, s, 0, s, 0, 0) for size, s in zip((1, 2, 3), seconds, strict=True)]
    fit = not_none(Measurement(tuple(rows), 0.0, None, "a device", "now").fit())
    line_seconds = [fit.fixed_seconds + fit.seconds_per_sample * size for size in (1, 2, 3)]
    worst = max(abs(y / s - 1) for y, s in zip(line_seconds, seconds, strict=True))
    assert fit.largest_misfit == pytest.approx(worst)
    assert worst > 0.05
    assert line([8, 16], 1, 1).fit() is None
    # from one size alone a larger one is as much slower as it is larger
    assert line([8], 0.0, 0.001).micro_batch_seconds(16) == pytest.approx(0.016)


def test_updates_are_counted_with_the_partial_ones():
    assert count_updates(config("schedule=fixed", "schedule.batch_size=25")) == {25: 6, 10: 3}
    assert count_updates(config("schedule=fixed", "schedule.batch_size=25", "dataset.partial_batch=drop")) == {25: 6}
    assert count_updates(BASE) == {8: 7, 4: 1, 16: 3, 12: 1, 32: 1, 28: 1}


def test_seconds_by_hand():
    # 2 ms + 0.1 ms a sample, 1 ms an update, 0.5 ms a test image
    measured = line([4, 64], fixed=0.002, per_sample=0.0001, update=0.001, test=0.0005)
    fixed = config("schedule=fixed", "schedule.batch_size=20")
    # 9 updates of 20 samples: 9 * (2 + 2 + 1) ms; 3 * 20 test images
    assert forecast(fixed, measured).train_seconds == pytest.approx(0.045)
    assert forecast(fixed, measured).test_seconds == pytest.approx(0.030)
    # the same in pieces of 10, accumulated: 18 * (2 + 1) ms + 9 * 1 ms
    assert forecast(replace(fixed, max_micro_batch_size=10), measured).train_seconds == pytest.approx(0.063)
    # on two ranks, each with 10 samples: 9 * (2 + 1 + 1) ms, and half of the test images
    ranks = config("schedule=fixed", "schedule.batch_size=20", "hardware.num_devices=2")
    assert forecast(ranks, measured).train_seconds == pytest.approx(0.036)
    assert forecast(ranks, measured).test_seconds == pytest.approx(0.015)


def test_what_is_paid_once_for_a_size_is_paid_once():
    row = MicroBatchTime(20, 0.0, 0.0, 0.001, 0.0, 0.001, growth_seconds=5.0, first_seconds=0.5)
    measured = Measurement((row,), 0.0, None, "a device", "now")
    predicted = forecast(config("schedule=fixed", "schedule.batch_size=20"), measured)
    assert predicted.growth_seconds == 5.0
    assert predicted.train_seconds == pytest.approx(0.5 + 9 * 0.001)
    assert predicted.elapsed_seconds == pytest.approx(5.5 + 9 * 0.001)
    # two sizes stand for one that was measured: each is compiled, but what comes first comes once; 25, 25 and 10
    partial = forecast(config("schedule=fixed", "schedule.batch_size=25"), measured)
    assert partial.growth_seconds == 10.0
    assert partial.train_seconds == pytest.approx(0.5 + 6 * 0.001 * 25 / 20 + 3 * 0.001)


def test_sizes_worth_measuring():
    # the 4 samples of one partial update are 2 % of the run
    assert sizes_to_measure([BASE]) == [8, 12, 16, 28, 32]
    assert sizes_to_measure([BASE, config("schedule=fixed", "schedule.batch_size=20")]) == [8, 12, 16, 20, 28, 32]
    ramp = compose(["dataset=cifar10", "schedule=linear_ramp", "schedule.batch_size=100", "num_epochs=10"])
    sizes = sizes_to_measure([ramp])
    # five percent of the samples are in batches of at most 128 to 255
    assert sizes == [128, 256, 512, 1024, max(count_updates(ramp))]


SCHEDULES = st.one_of(
    st.builds(
        lambda size, growth, every: [f"schedule.batch_size={size}", f"schedule.batch_growth={growth}",
                                     f"schedule.every_epochs={every}"],
        st.integers(1, 70), st.sampled_from([1, 1.5, 2, 4]), st.integers(1, 4),
    ),
    st.builds(
        lambda size, last: ["schedule=linear_ramp", f"schedule.batch_size={size}", f"schedule.final_batch_size={last}"],
        st.integers(1, 8), st.integers(9, 60),
    ),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40)
@given(SCHEDULES, st.sampled_from(["keep", "drop"]), st.integers(1, 3), st.sampled_from([None, 1, 7, 64]))
def test_every_planned_update_is_counted_and_every_sample_computed(words, partial, ranks, cap):
    tiny = [word for word in TINY if not word.startswith("schedule.")]
    run = compose([*tiny, *words, f"dataset.partial_batch={partial}", f"hardware.num_devices={ranks}"])
    run = replace(run, max_micro_batch_size=cap)
    schedule = run.build_schedule()
    planned = [
        update.num_samples
        for epoch in range(1, run.num_epochs + 1)
        for update in plan_updates(schedule, Progress(epoch=epoch), 60, partial)
    ]
    assert count_updates(run) == Counter(planned)
    share = sum(-(-samples // ranks) for samples in planned)
    counts = micro_batch_counts(run)
    assert sum(size * count for size, count in counts.items()) == share
    assert cap is None or max(counts, default=0) <= cap
