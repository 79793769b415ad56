"""Forecasts of sweeps: by hand-made measurements, and by the commands with real ones."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from adabatch.measure.times import Measurement
from launch.config import load_sweep
from launch.expand import expand
from launch.forecast import forecast_cells, largest_speedup, pays_up_to
from launch.forecast_text import forecast_text
from tests.adabatch.support import line, not_none
from tests.launch.support import write_sweep

TWELVE = """
name: twelve
overrides: [network=tiny_cnn, dataset=synthetic, dataset.num_train_samples=120, dataset.num_test_samples=20,
  dataset.image_size=8, dataset.num_channels=1, dataset.num_classes=3, num_epochs=2, schedule.every_epochs=1,
  hardware.num_threads=1]
seeds: [0, 1]
baseline: fixed
arms:
  fixed: [schedule=fixed, schedule.batch_size=10]
  adaptive: [schedule=adabatch, schedule.batch_size=10]
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def runs(launch):
    write_sweep(launch.config_dir, "twelve", TWELVE)
    return expand(load_sweep("twelve", {}, launch.config_dir), [], launch.runs_dir, launch.config_dir).runs


def measured(runs, measurement):
    return {run.run_dir: measurement for run in runs}


def test_a_cell_by_hand(runs):
    # 1 ms + 0.1 ms a sample, 1 ms an update, 0.25 ms a test image
    measurement = line([10, 15, 20], fixed=0.001, per_sample=0.0001, update=0.001, test=0.00025)
    (cell,) = forecast_cells(runs, measured(runs, measurement))
    arms = {arm.arm: arm for arm in cell.arms}
    # 24 updates of 10 samples, each 2 + 1 ms; then 12 of 10 and 6 of 20, each 3 + 1 ms
    assert arms["fixed"].train_seconds == pytest.approx(0.072)
    assert arms["adaptive"].train_seconds == pytest.approx(0.060)
    assert arms["fixed"].speedup is None
    assert arms["adaptive"].speedup == pytest.approx(1.2)
    # two seeds, 2 * 20 test images each
    assert arms["fixed"].test_seconds == pytest.approx(0.010)
    assert arms["fixed"].device_hours == pytest.approx(2 * 0.082 / 3600)
    # 240 samples at 0.1 ms each, if batches could be without end
    assert cell.largest_speedup == pytest.approx(0.072 / 0.024)
    assert (cell.baseline, cell.sizes, cell.world_size) == ("fixed", (10, 20), 1)


def test_graphs_are_forecast_beside_by_hand(runs):
    """Launches of 1 ms a micro-batch are most of what growing saves: with graphs nothing of 1.2x is left."""
    eager = line([10, 15, 20], fixed=0.001, per_sample=0.0001, update=0.001)
    replayed = line([10, 15, 20], fixed=0.0, per_sample=0.0001)
    own = replace(replayed, uses_graphs=True, counterpart=eager)
    (cell,) = forecast_cells(runs, measured(runs, own))
    other = not_none(cell.counterpart)
    assert (cell.uses_graphs, other.uses_graphs, other.counterpart) == (True, False, None)
    assert [arm.speedup for arm in cell.arms] == [None, pytest.approx(1.0)]
    assert [arm.speedup for arm in other.arms] == [None, pytest.approx(1.2)]
    assert (cell.largest_speedup, other.largest_speedup) == (pytest.approx(1.0), pytest.approx(3.0))
    text = shown_text(forecast_text(cell))
    assert "fixed 72 ms 24 ms baseline baseline" in text
    assert "adaptive 60 ms 24 ms 1.20x 1.00x" in text
    assert "limit of any schedule 3.00x 1.00x" in text
    (single,) = forecast_cells(runs, measured(runs, eager))
    assert "graphs" not in shown_text(forecast_text(single))


def shown_text(renderable):
    file = io.StringIO()
    Console(width=120, file=file).print(renderable)
    return " ".join(file.getvalue().split())


def test_where_the_line_does_not_fit_the_best_size_measured_is_the_limit(runs):
    rows = line([10], 0.0, 0.0010).rows + line([20], 0.0, 0.0005).rows + line([40], 0.0, 0.0010).rows
    bent = Measurement(rows, 0.0, None, "a device", "now")
    assert not_none(bent.fit()).largest_misfit > 0.1
    # fixed: 240 samples at 1 ms; at best 0.5 ms
    assert largest_speedup(runs[0].config, bent) == pytest.approx(2.0)
    (cell,) = forecast_cells(runs, measured(runs, bent))
    assert not cell.fit_is_trusted
    # through two sizes there is always a line: 2 ms for 10 and 3 ms for 20, so 0.15 ms a sample at best
    two = line([10, 20], fixed=0.001, per_sample=0.0001)
    assert two.fit() is None
    assert largest_speedup(runs[0].config, two) == pytest.approx(0.2 / 0.15)


def test_the_limit_is_that_of_the_baselines_own_measurement(runs):
    slow, fast = line([10, 20], fixed=0.0, per_sample=0.001), line([10, 20], fixed=0.001, per_sample=0.0001)
    by_run = {run.run_dir: fast if run.arm == "fixed" else slow for run in reversed(runs)}
    (cell,) = forecast_cells(runs[::-1], by_run)
    assert cell.largest_speedup == pytest.approx(0.2 / 0.15)


@pytest.mark.parametrize(("fixed", "expected"), [(0.0, 10), (0.0002, 64), (0.001, 256), (0.1, None)])
def test_where_the_batch_stops_paying(fixed, expected):
    # In units of 0.1 ms a sample costs 1 + (fixed / 0.1 ms) / B. With 2: at best 1.005 for 400, and 1.031 for 64,
    # 1.0625 for 32. With 10: at best 1.025 for 400, and 1.039 for 256, 1.078 for 128.
    # With 1000: 3.5 for 400, and 4.9 for 256, so that nobody knows where it ends.
    assert pays_up_to(line([10, 400], fixed=fixed, per_sample=0.0001)) == expected


@pytest.fixture(scope="module")
def some_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twelve")
    write_sweep(folder, "twelve", TWELVE)
    return expand(load_sweep("twelve", {}, folder), [], folder / "runs", folder).runs


@settings(max_examples=50)
@given(
    fixed=st.floats(0, 0.01),
    per_sample=st.floats(1e-6, 1e-3),
    update=st.floats(0, 0.01),
    batch=st.integers(1, 40),
    growth=st.sampled_from([1, 2, 4]),
)
def test_no_arm_exceeds_the_largest_speedup(some_runs, fixed, per_sample, update, batch, growth):
    schedule = replace(some_runs[0].config.schedule, batch_size=batch, batch_growth=growth)
    runs = [
        replace(run, config=replace(run.config, schedule=schedule)) if run.arm == "adaptive" else run
        for run in some_runs
    ]
    measurement = line([1, 10, 100], fixed=fixed, per_sample=per_sample, update=update)
    (cell,) = forecast_cells(runs, measured(runs, measurement))
    for arm in cell.arms:
        assert arm.speedup is None or arm.speedup <= not_none(cell.largest_speedup) * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_plan_forecasts_every_arm_and_runs_nothing(launch, runs):
    answer = launch("plan", "sweep=twelve", "--forecast", "max_micro_batch_size=auto", "--format", "json")
    assert answer.status == 0, answer.err
    plan = json.loads(answer.out)
    (cell,) = plan["forecast"]
    assert [arm["arm"] for arm in cell["arms"]] == ["fixed", "adaptive"]
    assert all(arm["train_seconds"] > 0 and arm["test_seconds"] > 0 for arm in cell["arms"])
    # the measured cap is in the plan
    assert plan["arms"][0]["stages"][0]["micro_batch_size"] is not None
    assert plan["states"] == {"missing": 4}
    text = launch("plan", "sweep=twelve", "--forecast", "cluster=local").out
    for words in ("forecast for synthetic-tiny_cnn", "No schedule over the same samples", "per device", "baseline"):
        assert words in text


@pytest.mark.slow
def test_a_device_that_cannot_be_measured_costs_a_sentence(launch, runs):
    answer = launch("plan", "sweep=twelve", "--forecast", "hardware=gpu")
    assert answer.status == 2
    assert "measuring times for synthetic-tiny_cnn failed: hardware.device is cuda" in answer.err
