"""Seconds beside device-seconds, where the ranks of compared runs grow with their batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.devices import device_costs
from analysis.tables import make_tables
from tests.analysis.runs import edit_epochs, write_run

DEVICES = ("hardware.num_devices=4", "hardware.devices={10: 1, 20: 2, 40: 4}")


def write_pair(root: Path, seed: int, seconds: tuple[float, ...]) -> None:
    """A fixed batch of 10 with one rank, and a growing one with 1, 2 and 4."""
    common: dict[str, Any] = {"accuracies": (0.5, 0.7, 0.9), "overrides": DEVICES}
    write_run(root, "fixed", seed, epoch_seconds=12.0, meta={"world_size": 1}, **common)
    run = write_run(
        root, "growing", seed, epoch_seconds=seconds, batches=(10, 20, 40), meta={"world_size": 4}, **common
    )
    edit_epochs(run, "world_size", [1, 2, 4])


@pytest.fixture
def sweep(tmp_path):
    """Seed 0: 36 s against 12 + 4 + 2 = 18 s, which cost 12 + 2 x 4 + 4 x 2 = 28 device-seconds; seed 1 the same."""
    for seed in (0, 1):
        write_pair(tmp_path, seed, (12.0, 4.0, 2.0))
    return tmp_path


def test_ranks_that_the_config_declares_may_differ(sweep):
    comparison = analysis.compare(analysis.load(sweep))
    assert len(comparison.matching.refused) == 0
    [mark] = comparison.matching.marks[("digits-tiny_cnn", "growing", "fixed")]
    assert mark.startswith("its ranks are 1, then 2, then 4 against 1, as hardware.devices declares")
    assert "(batch_norm=micro)" in mark


def test_time_and_devices_stand_side_by_side(sweep):
    comparison = analysis.compare(analysis.load(sweep))
    [row] = device_costs(comparison.data, comparison.matching).to_dict("records")
    assert row["speedup"] == pytest.approx(36 / 18)
    assert row["cost"] == pytest.approx(28 / 36)
    assert row["n"] == 2
    [table] = [table for table in make_tables(comparison) if table.name == "devices"]
    assert table.frame["in words"].tolist() == ["2.00x in time for 0.78x the device-hours"]
    costs = comparison.cost.set_index("arm").device_hours
    # Two runs each: training, and 1 s of tests an epoch, times 28 / 18 ranks on average.
    assert costs["growing"] == pytest.approx(2 * (18 + 3) * (28 / 18) / 3600)
    assert costs["fixed"] == pytest.approx(2 * (36 + 3) / 3600)


def test_ranks_that_no_config_declares_are_refused(tmp_path):
    write_run(tmp_path, "fixed", meta={"world_size": 1})
    write_run(tmp_path, "growing", batches=(10, 20), meta={"world_size": 2})
    comparison = analysis.compare(analysis.load(tmp_path))
    assert comparison.matching.refused.key.tolist() == ["world_size"]
    assert "devices" not in [table.name for table in make_tables(comparison)]


def test_arms_that_declare_other_ranks_are_refused(tmp_path):
    write_run(tmp_path, "fixed", overrides=("hardware.num_devices=2", "hardware.devices={10: 1, 20: 2}"))
    write_run(tmp_path, "growing", overrides=("hardware.num_devices=2", "hardware.devices={10: 1, 30: 2}"))
    keys = set(analysis.compare(analysis.load(tmp_path)).matching.refused.key)
    assert {"hardware.devices.20", "hardware.devices.30"} <= keys
