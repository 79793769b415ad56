"""``hardware.compile=auto``: measured, checked, and recorded."""

import json
from dataclasses import replace

import pytest
import torch

from adabatch.config import load_config
from adabatch.config.compose import compose
from adabatch.measure import compile_modes
from adabatch.measure.probe import Probe
from tests.adabatch.support import TINY, line

pytestmark = pytest.mark.slow

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
        monkeypatch.setattr(compile_modes, "_gradient", lambda *_: torch.ones(1))

    return find


# 180 samples of 1 ms each in micro-batches of 8 and 4: two shapes to compile
@pytest.mark.parametrize(("factor", "compiling", "chosen"), [(2, 0.01, True), (2, 1.0, False), (0.9, 0.0, False)])
def test_compiling_is_chosen_where_it_ends_the_run_first(probed, factor, compiling, chosen):
    probed(factor, compiling)
    config = compose([*TINY, "schedule=fixed", "schedule.batch_size=8", "hardware.compile=auto"])
    choice = compile_modes.choose_compile([config], CPU)
    assert choice.compile is chosen
    shapes = 2 * compiling
    assert choice.forecast_seconds == pytest.approx({"eager": 0.180, "compiled": 0.180 / factor + shapes}, rel=0.05)


def test_a_mode_that_fails_or_gives_another_gradient_is_left_out(probed, monkeypatch, caplog):
    probed(10, 0.0)
    config = compose([*TINY, "max_micro_batch_size=8", "hardware.compile=auto"])
    monkeypatch.undo()

    def broken(network, *_):
        next(network.parameters()).data.mul_(2.0)

    monkeypatch.setattr("adabatch.training.engine.compile_network", broken)
    assert compile_modes.choose_compile([config], CPU, again=True).compile is False
    assert "its gradient differs" in caplog.text
    monkeypatch.setattr("adabatch.training.engine.compile_network", lambda *_: 1 / 0)
    assert compile_modes.choose_compile([config], CPU, again=True).compile is False
    assert "division by zero" in caplog.text


def test_what_was_measured_stands_in_the_config_and_the_meta(train, monkeypatch, tmp_path):
    def capture(network, dynamic, mode):  # all of torch.compile but the minute that a C++ compiler takes
        network._compiled_call_impl = torch.compile(network._call_impl, dynamic=dynamic, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", capture)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # in bfloat16 rounding turns ReLUs over, which is no other gradient
    run_dir = train("hardware.compile=auto", "hardware.precision=bf16", "max_micro_batch_size=8")
    chosen = load_config(run_dir.config).hardware.compile
    assert chosen in (True, False)
    measured = json.loads(run_dir.meta.read_text())["measured"]["hardware.compile"]
    assert measured["compile"] is chosen
    # a run of a fraction of a second is not worth compiling, and both were measured
    assert set(measured["forecast_seconds"]) == {"eager", "compiled"}
    assert chosen is False
