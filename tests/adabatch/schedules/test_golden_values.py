"""The paper's schedule, number by number (50,000 samples, base rate 0.01, 100 epochs, partial batches dropped)."""

import pytest

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.schedules import EpochPlan, tabulate

SAMPLES = 50_000
BATCHES = [128, 256, 512, 1024, 2048]
ADAPTIVE_RATES = [0.01, 0.0075, 0.005625, 0.00421875, 0.0031640625]
FIXED_RATES = [0.01, 0.00375, 0.00140625, 0.00052734375, 0.00019775390625]
UPDATES = [390, 195, 97, 48, 24]


def plans(config: TrainConfig) -> list[EpochPlan]:
    schedule = config.build_schedule(SAMPLES)
    return tabulate(schedule, config.num_epochs, SAMPLES, "drop")


@pytest.fixture(scope="module")
def adaptive() -> TrainConfig:
    return compose(["schedule=adabatch", "num_epochs=100"])


@pytest.fixture(scope="module")
def fixed() -> TrainConfig:
    return compose(["schedule=fixed", "num_epochs=100"])


@pytest.mark.parametrize("epoch", range(1, 101))
def test_adaptive_arm_in_every_epoch(adaptive, epoch):
    row, stage = plans(adaptive)[epoch - 1], (epoch - 1) // 20
    assert row.batch_size == BATCHES[stage]
    assert row.learning_rate == pytest.approx(ADAPTIVE_RATES[stage], rel=1e-12)
    assert row.num_updates == UPDATES[stage]
    assert row.samples_dropped == SAMPLES - UPDATES[stage] * BATCHES[stage]


@pytest.mark.parametrize("epoch", range(1, 101))
def test_fixed_arm_in_every_epoch(fixed, epoch):
    row, stage = plans(fixed)[epoch - 1], (epoch - 1) // 20
    assert (row.batch_size, row.num_updates) == (128, 390)
    assert row.learning_rate == pytest.approx(FIXED_RATES[stage], rel=1e-12)


def test_totals(adaptive, fixed):
    assert sum(row.num_updates for row in plans(adaptive)) == 15_080
    assert sum(row.num_updates for row in plans(fixed)) == 39_000


def test_rate_per_sample_is_equal_in_every_epoch(adaptive, fixed):
    for one, other in zip(plans(adaptive), plans(fixed), strict=True):
        assert one.learning_rate / one.batch_size == pytest.approx(other.learning_rate / other.batch_size, rel=1e-12)


def test_shipped_fixed_option_is_the_twin_of_the_adaptive_one(adaptive, fixed):
    assert adaptive.schedule.twin() == fixed.schedule
