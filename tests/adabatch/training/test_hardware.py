"""Switches of the hardware: they change speed and rounding, and what they cost is written down."""

import json
import os
import time

import pytest
import torch

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from adabatch.training.device import make_device
from tests.adabatch.support import TINY, assert_equal_bits, largest_difference, read_rows, read_summary

pytestmark = pytest.mark.slow


#: Compiles within seconds, and has statistics that warming up must leave alone.
NORMED = """
from torch import nn

class Normed(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_classes))
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_compiling_is_charged_to_the_epoch_that_needs_it(train, tmp_path, monkeypatch):
    """With a capped micro-batch growth is accumulation, so the growing batch compiles nothing new."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "normed.py").write_text(NORMED)
    # An update of 9 is cut into 5 and 4: the second shape is warmed up while the first one's gradient waits.
    words = (
        "network=normed:Normed",
        "dataset.num_train_samples=63",
        "dataset.num_test_samples=5",
        "schedule.batch_size=9",
        "max_micro_batch_size=5",
        "hardware.precision=fp64",
    )
    plain = train(*words, name="plain")
    compiled = train(*words, "hardware.compile=true", name="compiled")
    assert largest_difference(plain, compiled) < 1e-10
    rows = read_rows(compiled)
    assert [row["accumulation_steps"] for row in rows] == ["2", "4", "8"]
    assert float(rows[0]["growth_seconds"]) > 0
    assert [float(row["growth_seconds"]) for row in rows[1:]] == [0, 0]
    elapsed = sum(float(row["train_seconds"]) + float(row["growth_seconds"]) for row in rows)
    assert float(rows[-1]["elapsed_seconds"]) == pytest.approx(elapsed, rel=0.01)


def test_ranks_warm_up_together_what_is_new_to_one_of_them(train, monkeypatch):
    """31 samples are updates of 8 + 8 and 8 + 7; synchronized BatchNorm would wait for ever for a rank alone."""
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")  # the ranks warm up all the same, without a minute of compiling
    words = (
        "dataset.num_train_samples=31",
        "schedule=fixed",
        "schedule.batch_size=16",
        "num_epochs=1",
        "batch_norm=sync",
        "hardware.precision=fp64",
    )
    whole = train(*words, name="whole")
    ranks = train(*words, "hardware.num_devices=2", "hardware.compile=true", name="ranks")
    assert largest_difference(whole, ranks) < 1e-10


def test_a_profile_is_a_trace_of_a_few_updates(train):
    traced, plain = train("hardware.profile=true", name="traced"), train(name="plain")
    trace = json.loads((traced.path / "trace.json").read_text())
    names = {event.get("name") for event in trace["traceEvents"]}
    assert any("conv" in str(name) for name in names)
    assert_equal_bits(traced, plain)


def test_a_profile_of_a_run_shorter_than_its_trace(train):
    run_dir = train("hardware.profile=true", "num_epochs=1", "schedule.batch_size=15")
    assert run_dir.done.exists()


def test_the_spans_add_up_to_the_wall_clock(train, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk may take its time for what lies outside the spans
    train(name="before")  # imports what the first run of a process imports, which lies outside
    run_dir = RunDir(tmp_path / "run")
    words = ("num_epochs=60", "schedule=fixed", "schedule.every_epochs=100", f"run_dir={run_dir.path}")
    config = compose([*TINY, *words])
    started = time.perf_counter()
    assert run_config(config) == 0
    wall = time.perf_counter() - started
    summary = read_summary(run_dir)
    spans = ("setup", "data", "forward", "backward", "update", "growth", "test", "save")
    assert summary["wall_seconds"] == pytest.approx(sum(summary[f"{span}_seconds"] for span in spans), rel=1e-9)
    # The first and the last files of the run directory lie outside.
    assert summary["wall_seconds"] == pytest.approx(wall, rel=0.01, abs=0.3)


@pytest.fixture
def one_gpu(monkeypatch):
    """Let torch find a GPU, on which nothing can be computed; what it was told of it is taken back."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_only_tf32_rounds_to_tf32(one_gpu, precision, allowed):
    make_device(compose([*TINY, "hardware=gpu", f"hardware.precision={precision}"]))
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (allowed, allowed)
    if hasattr(torch.backends.cudnn, "conv"):  # from torch 2.9 on, with a precision of its own
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == allowed


def test_tf32_is_for_gpus():
    assert compose([*TINY, "hardware=gpu", "hardware.precision=tf32"]).hardware.precision == "tf32"
    with pytest.raises(ConfigError, match="hardware.precision is tf32; it must be fp32, bf16 or fp64 on a CPU"):
        compose([*TINY, "hardware.precision=tf32"])
    with pytest.raises(ConfigError, match="hardware.compile is fast; it must be false, true, auto, reduce-overhead"):
        compose([*TINY, "hardware.compile=fast"])
