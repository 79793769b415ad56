"""An update's gradient is the mean over exactly its samples, however they are cut into pieces (in float64)."""

import pytest
import torch

from tests.adabatch.support import (
    assert_equal_bits,
    largest_difference,
    network_state,
    read_rows,
    read_summary,
    without_seconds,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]

FP64 = ("hardware.precision=fp64", "network=alexnet", "num_epochs=2")
#: Rounding of float64 over a few updates.
TOLERANCE = 1e-12


@pytest.fixture
def whole(train):
    """Updates of 22 and 44 samples at once; 60 = 2 * 22 + 16 = 44 + 16, the partial ones kept."""
    return train(*FP64, "schedule.batch_size=22", name="whole")


@pytest.mark.parametrize("cap", [1, 5, 7, 21, 22, 43])
def test_accumulation_changes_nothing_but_rounding(train, whole, cap):
    parts = train(*FP64, "schedule.batch_size=22", f"max_micro_batch_size={cap}", name="parts")
    assert largest_difference(whole, parts) < TOLERANCE
    assert [row["accumulation_steps"] for row in read_rows(parts)] == [str(-(-22 // cap)), str(-(-44 // cap))]


def test_ranks_change_nothing_but_rounding(train, whole):
    """Neither 22 nor 16 is divisible by 4; with a cap of 3 the ranks accumulate unevenly."""
    shared = ("schedule.batch_size=22", "hardware.num_devices=4", "max_micro_batch_size=3")
    spread = train(*FP64, *shared, name="spread")
    assert largest_difference(whole, spread) < TOLERANCE
    one, other = without_seconds(whole), without_seconds(spread)
    for first, second in zip(one, other, strict=True):
        for name in ("updates", "samples", "batch_size", "samples_dropped", "train_accuracy", "test_accuracy"):
            assert first[name] == second[name]
        assert float(first["train_loss"]) == pytest.approx(float(second["train_loss"]), rel=1e-12)
        assert second["world_size"] == "4"


def test_an_update_with_fewer_samples_than_ranks(train):
    """60 samples in updates of 59 leave 1 for the second one: two of three ranks have nothing to add."""
    few = ("schedule=fixed", "schedule.batch_size=59", "schedule.every_epochs=1")
    whole = train(*FP64, *few, name="whole")
    spread = train(*FP64, *few, "hardware.num_devices=3", name="spread")
    assert largest_difference(whole, spread) < TOLERANCE


def test_ranks_draw_their_own_random_numbers(train):
    """Equal ones would give the samples of two ranks the same dropout."""
    run_dir = train("hardware.num_devices=2", "num_epochs=1")
    first, second = torch.load(run_dir.checkpoint, weights_only=True)["state"]["torch_random"]
    assert not torch.equal(first, second)


def test_synchronized_batch_norm_equals_one_process(train):
    synced = ("hardware.precision=fp64", "batch_norm=sync", "schedule.batch_size=22", "num_epochs=2")
    whole = train(*synced, name="whole")
    spread = train(*synced, "hardware.num_devices=2", name="spread")
    assert largest_difference(whole, spread) < 1e-10


def test_ghost_batch_norm_is_the_same_for_every_split_along_its_groups(train):
    ghost = ("hardware.precision=fp64", "batch_norm=ghost", "ghost_batch_size=4", "schedule=fixed", "num_epochs=1")
    whole = train(*ghost, "schedule.batch_size=12", name="whole")
    parts = train(*ghost, "schedule.batch_size=12", "max_micro_batch_size=4", name="parts")
    first, second = network_state(whole), network_state(parts)
    # The running statistics average over other numbers of forwards; the weights must not care.
    weights = [name for name in first if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert max(float((first[name] - second[name]).abs().max()) for name in weights) < TOLERANCE
    losses = [float(read_rows(run)[0]["train_loss"]) for run in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_each_sample_is_used_once_per_epoch(train, ranks):
    run_dir = train(f"hardware.num_devices={ranks}", "max_micro_batch_size=3", "schedule.batch_size=7")
    ledger = read_summary(run_dir)["ledger"]
    assert [(row["epoch"], row["samples_used_once"], row["samples_dropped"]) for row in ledger] == [
        (epoch, 60, 0) for epoch in (1, 2, 3)
    ]
    assert all(row["samples_used_repeatedly"] == 0 for row in ledger)


def test_half_a_million_samples_in_one_update(train):
    """ImageNet's largest batch of the paper by accumulation, the last window stepped and weighted exactly."""
    large = (
        "dataset.image_size=4",
        "dataset.num_train_samples=600000",
        "dataset.num_test_samples=10",
        "schedule=fixed",
        "schedule.batch_size=524288",
        "max_micro_batch_size=4096",
        "num_epochs=1",
    )
    run_dir = train(*large)
    row = read_rows(run_dir)[0]
    assert (row["updates"], row["samples"], row["accumulation_steps"]) == ("2", "600000", "128")
    assert read_summary(run_dir)["ledger"][0]["samples_used_once"] == 600_000


def test_channels_last_and_threads_are_no_part_of_the_result_in_float64(train):
    one = train(*FP64, name="one")
    other = train(*FP64, "hardware.channels_last=false", name="other")
    assert largest_difference(one, other) < TOLERANCE


def test_bfloat16_trains_and_differs_from_float32(train):
    half, single = train("hardware.precision=bf16", name="half"), train(name="single")
    assert largest_difference(half, single) > 0
    assert all(float(row["train_loss"]) < 10 for row in read_rows(half))


def test_deterministic_mode_repeats(train):
    one, two = (train("hardware.deterministic=true", name=name) for name in ("one", "two"))
    assert_equal_bits(one, two)
