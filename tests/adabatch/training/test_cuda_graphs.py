"""CUDA graphs: everything about them but the recording, which needs a GPU, is done here by running what is recorded."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import signal
from typing import Any

import pytest
import torch

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.rundir.columns import read_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.training.cuda_graphs import CudaGraphs, why_no_graphs
from adabatch.training.engine import Engine
from adabatch.training.reporting import MainReporter
from tests.adabatch.support import assert_equal_bits, largest_difference, read_rows, read_summary, without_seconds
from tests.adabatch.training.recorders import EagerRecorder, RefusingRecorder
from tests.conftest import Train

pytestmark = pytest.mark.slow

#: 60 samples in updates of 8, 16 and 32, with partial ones of 4, 12 and 28.
GROWING = ("schedule.batch_size=8",)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> EagerRecorder:
    """Let runs use graphs, recorded by the recorder that is returned."""
    return use(EagerRecorder(), monkeypatch)


def use(recorder: EagerRecorder, monkeypatch: pytest.MonkeyPatch) -> EagerRecorder:
    monkeypatch.setattr("adabatch.training.engine.why_no_graphs", lambda *_: None)
    monkeypatch.setattr("adabatch.training.engine.make_recorder", lambda _: recorder)
    return recorder


def stop_after(updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next run in this process be stopped by SIGTERM after so many of its updates."""
    on_update, counted = MainReporter.on_update, itertools.count(1)

    def count_and_stop(*given: Any) -> None:
        on_update(*given)
        if next(counted) == updates:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MainReporter, "on_update", count_and_stop)


def cuda_graphs_of(run_dir: RunDir) -> str:
    meta = json.loads(run_dir.meta.read_text())
    text: str = meta["cuda_graphs"]
    return text


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("max_micro_batch_size=5",),
        ("optimizer=adamw", "optimizer.learning_rate=0.001"),
        ("optimizer.nesterov=true", "max_micro_batch_size=8"),
        ("batch_norm=ghost", "ghost_batch_size=4"),
        ("network=alexnet",),  # dropout
        ("hardware.precision=bf16",),
        ("hardware.precision=fp64", "max_micro_batch_size=7"),
        ("optimizer.path=torch.optim:RMSprop",),  # whose step no graph holds
        ("dataset.partial_batch=drop",),
        ("hardware.profile=true",),
    ],
    ids=lambda words: " ".join(words) or "plain",
)
def test_graphs_change_nothing_but_rounding(
    train: Train, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    eager = train(*GROWING, *words, name="eager")
    recorder = use(EagerRecorder(), monkeypatch)
    replayed = train(*GROWING, *words, name="replayed")
    assert recorder.num_replayed > 0
    assert largest_difference(eager, replayed) <= 1e-6
    for one, other in zip(without_seconds(eager), without_seconds(replayed), strict=True):
        assert one.keys() == other.keys()
        assert {name: float(value or math.nan) for name, value in one.items()} == pytest.approx(
            {name: float(value or math.nan) for name, value in other.items()}, rel=1e-5, nan_ok=True
        )


@pytest.fixture
def every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every shape pay."""
    monkeypatch.setattr(CudaGraphs, "pays", lambda *_: True)


@pytest.mark.usefixtures("every_shape")
def test_a_whole_update_is_one_graph(train: Train, graphs: EagerRecorder) -> None:
    """Three epochs of 60 samples: 7 + 1, 3 + 1 and 1 + 1 updates in six shapes, each with its own graph."""
    train(*GROWING, "dataset.partial_batch=keep")
    assert (graphs.num_recorded, graphs.num_replayed) == (6, 14)


@pytest.mark.usefixtures("every_shape")
def test_accumulation_needs_a_graph_for_the_parts_and_one_for_the_step(train: Train, graphs: EagerRecorder) -> None:
    train(*GROWING, "max_micro_batch_size=8", "num_epochs=2", "schedule.every_epochs=1")
    # epoch 1: 7 updates of 8 and one of 4; epoch 2: 3 updates of 8 + 8, one of 8 + 4
    assert graphs.num_recorded == 2 + 2 + 1
    assert graphs.num_replayed == 8 + 4 * 2 + 4


def test_a_shape_that_comes_too_rarely_is_not_recorded(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording takes half a minute of micro-batches here; of the first shape that is found out."""
    recorder = use(EagerRecorder(seconds=0.5), monkeypatch)
    run_dir = train("schedule=fixed", "schedule.batch_size=8", "num_epochs=2")
    assert recorder.num_recorded == 1
    assert recorder.num_replayed == 2 * 7
    assert [row["updates"] for row in read_rows(run_dir)] == ["8", "16"]


@pytest.mark.usefixtures("every_shape")
def test_times_that_a_graph_hides_are_blank(train: Train, graphs: EagerRecorder) -> None:
    run_dir = train(*GROWING)
    rows, _ = read_epochs_csv(run_dir.epochs)
    summary = read_summary(run_dir)
    for row in rows:
        assert all(
            math.isnan(value) for value in (row.forward_seconds, row.backward_seconds, row.update_seconds) if value
        )
        assert row.train_seconds > row.data_seconds > 0
    assert summary["forward_seconds"] is None
    assert summary["train_seconds"] == pytest.approx(sum(row.train_seconds for row in rows), rel=0.01)
    assert rows[0].growth_seconds > 0
    assert cuda_graphs_of(run_dir) == "yes"


@pytest.mark.parametrize("optimizer", [(), ("optimizer=adamw", "optimizer.learning_rate=0.001")])
def test_a_resumed_run_ends_bit_for_bit_where_a_whole_one_does(
    train: Train, graphs: EagerRecorder, monkeypatch: pytest.MonkeyPatch, optimizer: tuple[str, ...]
) -> None:
    """Stopped within an epoch, before its last update and after it; the network has dropout."""
    words = (*GROWING, "network=alexnet", "max_micro_batch_size=6", *optimizer)
    whole = train(*words, name="whole")
    for updates in (3, 4, 1, 3):
        with monkeypatch.context() as patch:
            stop_after(updates, patch)
            train(*words, name="pieces", status=75)
    pieces = train(*words, name="pieces")
    assert without_seconds(whole) == without_seconds(pieces)
    assert_equal_bits(whole, pieces)


def test_a_checkpoint_with_graphs_goes_on_without(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*GROWING, "optimizer=adamw", "optimizer.learning_rate=0.001")
    whole = train(*words, name="whole")
    with monkeypatch.context() as patch:
        use(EagerRecorder(), patch)
        stop_after(9, patch)
        train(*words, name="pieces", status=75)
    pieces = train(*words, name="pieces")
    assert largest_difference(whole, pieces) < 1e-6
    assert (cuda_graphs_of(whole), cuda_graphs_of(pieces)) == ("no", "no")


def test_a_network_that_cannot_be_recorded_is_computed_without_graphs(
    train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    eager = train(*GROWING, name="eager")
    recorder = use(RefusingRecorder(), monkeypatch)
    logging.getLogger("adabatch").propagate = True
    refused = train(*GROWING, name="refused")
    assert_equal_bits(eager, refused)
    assert recorder.num_recorded == 0
    assert cuda_graphs_of(refused) == "no: the network waits for values on the GPU, as .item() does"
    assert "CUDA graphs are not used: the network waits" in refused.log.read_text()
    assert all(float(row["forward_seconds"]) > 0 for row in read_rows(refused))


def test_a_non_finite_loss_is_found(train: Train, graphs: EagerRecorder) -> None:
    run_dir = train(*GROWING, "optimizer.learning_rate=1e30", status=1)
    assert "NonFiniteLoss" in read_summary(run_dir)["cause"]


@pytest.mark.parametrize(
    ("words", "ranks", "reason"),
    [
        (("hardware=gpu",), 1, None),
        (("hardware=gpu", "hardware.cuda_graphs=false"), 1, ""),
        (("hardware=gpu",), 2, "the run has several ranks"),
        (("hardware=gpu", "batch_norm=sync"), 1, "synchronized BatchNorm"),
    ],
)
def test_what_prevents_graphs_is_said(words: tuple[str, ...], ranks: int, reason: str | None) -> None:
    assert why_no_graphs(compose(list(words)), torch.device("cuda"), ranks) == reason


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hardware.cuda_graphs=true"], "hardware.cuda_graphs is true; it must be auto or false on a CPU"),
        (["hardware.cuda_graphs=2"], "hardware.cuda_graphs is 2; it must be auto, true or false"),
        (
            ["hardware=gpu", "hardware.compile=reduce-overhead", "hardware.cuda_graphs=false"],
            "hardware.cuda_graphs is false",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose(words)


def test_a_compiled_network_stands_inside_the_graph(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(
        network: Any, dynamic: bool, mode: str | None
    ) -> None:  # all of compiling but the C++ compiler's minute
        network._compiled_call_impl = torch.compile(network._call_impl, dynamic=dynamic, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", capture)
    eager = train(*GROWING, name="eager")
    recorder = use(EagerRecorder(), monkeypatch)
    compiled = train(*GROWING, "hardware.compile=true", name="compiled")
    assert recorder.num_replayed > 0
    assert largest_difference(eager, compiled) < 1e-6


def test_a_test_in_the_training_s_shape_gives_the_same_numbers(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 test samples in forwards of 8, 16 and 32 instead of one of 20: the last one is filled up."""
    plain = train(*GROWING, name="plain")
    monkeypatch.setattr("adabatch.training.evaluation.searches_kernels", lambda _: True)
    shapes = set()
    infer = Engine.infer

    def remember(engine: Engine, images: torch.Tensor, *others: Any) -> Any:
        shapes.add(len(images))
        return infer(engine, images, *others)

    monkeypatch.setattr(Engine, "infer", remember)
    filled_up = train(*GROWING, name="filled_up")
    assert shapes == {8, 16, 32}
    assert [row["test_accuracy"] for row in read_rows(plain)] == [row["test_accuracy"] for row in read_rows(filled_up)]
    for one, other in zip(read_rows(plain), read_rows(filled_up), strict=True):
        assert float(one["test_loss"]) == pytest.approx(float(other["test_loss"]), rel=1e-5)
    assert plain.test_correct.read_bytes() == filled_up.test_correct.read_bytes()
