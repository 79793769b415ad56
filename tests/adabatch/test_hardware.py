"""Switches of the hardware: they change speed and rounding, and what they cost is written down."""

import json
import time
from dataclasses import replace

import pytest
import torch

from adabatch import compile_choice
from adabatch.compose import compose
from adabatch.config import load_config
from adabatch.errors import ConfigError
from adabatch.learner import Learner
from adabatch.probe import Probe
from tests.adabatch.support import TINY, assert_equal_bits, largest_difference, line, read_rows, read_summary


@pytest.mark.timeout(600)
def test_compiling_is_charged_to_the_epoch_that_needs_it(train):
    """With a capped micro-batch growth is accumulation, so the growing batch compiles nothing new."""
    words = ("dataset.num_train_samples=64", "max_micro_batch_size=8", "hardware.precision=fp64")
    plain = train(*words, name="plain")
    compiled = train(*words, "hardware.compile=true", name="compiled")
    assert largest_difference(plain, compiled) < 1e-10
    rows = read_rows(compiled)
    assert [row["accumulation_steps"] for row in rows] == ["1", "2", "4"]
    assert float(rows[0]["growth_seconds"]) > 0
    assert [float(row["growth_seconds"]) for row in rows[1:]] == [0, 0]
    elapsed = sum(float(row["train_seconds"]) + float(row["growth_seconds"]) for row in rows)
    assert float(rows[-1]["elapsed_seconds"]) == pytest.approx(elapsed, rel=0.01)


def test_a_profile_is_a_trace_of_a_few_updates(train):
    traced, plain = train("hardware.profile=true", name="traced"), train(name="plain")
    trace = json.loads((traced.path / "trace.json").read_text())
    names = {event.get("name") for event in trace["traceEvents"]}
    assert any("conv" in str(name) for name in names)
    assert_equal_bits(traced, plain)


def test_a_profile_of_a_run_shorter_than_its_trace(train):
    run_dir = train("hardware.profile=true", "num_epochs=1", "schedule.batch_size=15")
    assert run_dir.done.exists()


def test_the_spans_add_up_to_the_wall_clock(train):
    started = time.perf_counter()
    run_dir = train("num_epochs=60", "schedule=fixed", "schedule.every_epochs=100")
    wall = time.perf_counter() - started
    summary = read_summary(run_dir)
    spans = ("setup", "data", "forward", "backward", "update", "growth", "test", "save")
    assert summary["wall_seconds"] == pytest.approx(sum(summary[f"{span}_seconds"] for span in spans), rel=1e-9)
    # Composing the config and writing DONE lie outside.
    assert summary["wall_seconds"] == pytest.approx(wall, rel=0.01, abs=0.3)


CPU = torch.device("cpu")


@pytest.fixture
def probed(monkeypatch, tmp_path):
    """Let the probe find that compiling makes each micro-batch ``factor`` times as fast, and takes some seconds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def find(factor: float, compiling_seconds: float) -> None:
        def measure(probe, sizes):
            is_compiled = probe._config.hardware.compile is not False
            times = line(sizes, 0.0, 0.001 / factor if is_compiled else 0.001)
            rows = tuple(replace(row, growth_seconds=compiling_seconds if is_compiled else 0.0) for row in times.rows)
            return replace(times, rows=rows)

        monkeypatch.setattr(Probe, "measure", measure)
        monkeypatch.setattr(compile_choice, "_require_same_gradient", lambda *_: None)

    return find


# 180 samples of 1 ms each in micro-batches of 8 and 4: two shapes to compile
@pytest.mark.parametrize(("factor", "compiling", "chosen"), [(2, 0.01, True), (2, 1.0, False), (0.9, 0.0, False)])
def test_compiling_is_chosen_where_it_ends_the_run_first(probed, factor, compiling, chosen):
    probed(factor, compiling)
    config = compose([*TINY, "schedule=fixed", "schedule.batch_size=8", "hardware.compile=auto"])
    choice = compile_choice.choose_compile([config], CPU)
    assert choice.mode is chosen
    shapes = 2 * compiling
    assert choice.forecast_seconds == pytest.approx({"false": 0.180, "true": 0.180 / factor + shapes}, rel=0.05)


def test_a_mode_that_fails_or_gives_another_gradient_is_left_out(probed, monkeypatch, caplog):
    probed(10, 0.0)
    config = compose([*TINY, "max_micro_batch_size=8", "hardware.compile=auto"])
    monkeypatch.undo()

    def broken(learner, mode):
        next(learner.network.parameters()).data.mul_(2.0)

    monkeypatch.setattr(Learner, "_compile", broken)
    assert compile_choice.choose_compile([config], CPU, again=True).mode is False
    assert "its gradient differs" in caplog.text
    monkeypatch.setattr(Learner, "_compile", lambda *_: 1 / 0)
    assert compile_choice.choose_compile([config], CPU, again=True).mode is False
    assert "division by zero" in caplog.text


@pytest.mark.timeout(600)
def test_what_was_measured_stands_in_the_config_and_the_meta(train, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_dir = train("hardware.compile=auto", "max_micro_batch_size=8")
    chosen = load_config(run_dir.config).hardware.compile
    assert chosen in (True, False)
    measured = json.loads(run_dir.meta.read_text())["measured"]["hardware.compile"]
    assert measured["mode"] is chosen
    # a run of a fraction of a second is not worth compiling, and both were measured
    assert set(measured["forecast_seconds"]) == {"false", "true"}
    assert chosen is False


def test_tf32_is_for_gpus():
    assert compose([*TINY, "hardware=gpu", "hardware.precision=tf32"]).hardware.precision == "tf32"
    with pytest.raises(ConfigError, match="hardware.precision is tf32; it must be fp32, bf16 or fp64 on a CPU"):
        compose([*TINY, "hardware.precision=tf32"])
    with pytest.raises(ConfigError, match="hardware.compile is fast; it must be false, true, auto, reduce-overhead"):
        compose([*TINY, "hardware.compile=fast"])
