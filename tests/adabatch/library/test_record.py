"""Recording a loop of one's own: the files of the run directory, by hand, and what a wrong loop is told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from adabatch import BatchSchedule, ConfigError, GrowingBatchSampler, record
from adabatch.errors import NonFiniteLoss
from adabatch.library.record import Recording
from adabatch.rundir.columns import read_epochs_csv
from adabatch.rundir.evidence import Evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.state import read_state
from tests.adabatch.support import not_none, read_rows, read_summary

pytestmark = pytest.mark.slow  # each asks git which code trains


def growing(**arguments: Any) -> BatchSchedule:
    """Batches of 4, 8 and 16 of 20 samples in epochs 1, 2 and 3, at a rate of 0.1, 0.05 and 0.025."""
    given = {"batch_size": 4, "every_epochs": 1, "learning_rate_decay": 0.5, **arguments}
    return BatchSchedule("adabatch", num_train_samples=20, num_epochs=3, learning_rate=0.1, **given)


def train_epoch(schedule: BatchSchedule) -> None:
    for update in list(schedule.plan_updates(schedule.progress, "keep")):
        schedule.advance(update.num_samples)


def recording(folder: Path, schedule: BatchSchedule | GrowingBatchSampler | None = None, **words: Any) -> Recording:
    given = {"seed": 0, "dataset": "toy", "network": "mlp", "program": "loop.py 1.0", **words}
    return record(folder, growing() if schedule is None else schedule, **given)


def state_of(folder: Path) -> tuple[str, str | None]:
    found = read_state(Evidence(folder))
    return found.state.value, found.cause


def test_rows_follow_from_the_schedule_and_the_given_seconds(tmp_path: Path) -> None:
    with recording(tmp_path, columns={"f1": float, "hits": int}) as run:
        for epoch in (1, 2, 3):
            accuracy = 0.25 * epoch
            run.epoch(test_accuracy=accuracy, train_loss=1 / epoch, train_seconds=2.0, f1=accuracy / 2, hits=epoch)
    rows = read_rows(RunDir(tmp_path))
    # 20 samples in batches of 4, 8 and 16: 5, 3 and 2 updates
    assert [row["updates"] for row in rows] == ["5", "8", "10"]
    assert [row["samples"] for row in rows] == ["20", "40", "60"]
    assert [row["batch_size"] for row in rows] == ["4", "8", "16"]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.1, 0.05, 0.025])
    assert [row["elapsed_seconds"] for row in rows] == ["2.0", "4.0", "6.0"]
    assert list(rows[0])[-2:] == ["f1", "hits"]
    assert [(row["f1"], row["hits"]) for row in rows] == [("0.125", "1"), ("0.25", "2"), ("0.375", "3")]
    summary = read_summary(RunDir(tmp_path))
    assert (summary["state"], summary["test_accuracy"], summary["best_epoch"]) == ("done", 0.75, 3)
    assert (summary["elapsed_seconds"], summary["test_loss"], summary["data_seconds"]) == (6.0, None, None)
    assert state_of(tmp_path) == ("done", None)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert (meta["source"], meta["trainer"], meta["device"]) == ("recorded", "loop.py 1.0", "cpu")


def test_the_config_says_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    sampler = GrowingBatchSampler(20, growing(), partial_batch="drop", max_micro_batch_size=5)
    config = {"optimizer.kind": "lion", "optimizer.beta1": 0.9, "dataset.num_test_samples": 10}
    with recording(tmp_path, sampler, config=config):
        pass
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert values["optimizer"] == {"learning_rate": 0.1, "kind": "lion", "beta1": 0.9}
    expected = {"name": "toy", "num_train_samples": 20, "partial_batch": "drop", "num_test_samples": 10}
    assert values["dataset"] == expected
    assert (values["network"], values["max_micro_batch_size"], values["num_epochs"]) == ({"name": "mlp"}, 5, 3)
    assert values["schedule"]["batch_growth"] == 2.0


def test_memory_is_what_the_program_tells(tmp_path: Path) -> None:
    with recording(tmp_path / "told") as run:
        for epoch in (1, 2, 3):
            run.epoch(test_accuracy=0.5, peak_memory_bytes=1000.0 * epoch)
    assert [row["peak_memory_bytes"] for row in read_rows(RunDir(tmp_path / "told"))] == ["1000", "2000", "3000"]
    assert read_summary(RunDir(tmp_path / "told"))["peak_memory_bytes"] == 3000
    with recording(tmp_path / "untold") as run:
        for _ in (1, 2, 3):
            run.epoch(test_accuracy=0.5)
    assert read_summary(RunDir(tmp_path / "untold"))["peak_memory_bytes"] is None


def test_a_schedule_that_is_applied_and_never_moved_is_refused(tmp_path: Path) -> None:
    """Otherwise the rows would tell of batches that were never used."""
    schedule = growing()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule.apply(optimizer)
    with recording(tmp_path, schedule) as run:
        with pytest.raises(ConfigError, match=r"the schedule was applied but never moved; .* schedule\.advance"):
            run.epoch(test_accuracy=0.5)
        assert run.rows == []


def test_the_number_of_test_samples_is_a_config_key(tmp_path: Path) -> None:
    with recording(tmp_path, num_test_samples=100):
        pass
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["dataset"]["num_test_samples"] == 100


def test_wrong_uses_of_a_schedule_are_named() -> None:
    sizes = {"num_train_samples": 20, "num_epochs": 3, "learning_rate": 0.1}
    for stages in ([16, 32], {0: 4, 3: 8}, {1: 4}):
        with pytest.raises(ConfigError, match=r"stages is .*; it must be a mapping from epochs below num_epochs=3"):
            BatchSchedule.from_stages(stages, **sizes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="apply was given a Linear; it must be an optimizer"):
        growing().apply(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


def test_a_sampler_says_how_far_the_loop_is(tmp_path: Path) -> None:
    sampler = GrowingBatchSampler(20, growing(), partial_batch="drop", max_micro_batch_size=5)
    with recording(tmp_path, sampler) as run:
        for _ in sampler.epochs():
            for update in sampler.updates(sampler):
                list(update)
            run.epoch(test_accuracy=0.5)
    rows = read_rows(RunDir(tmp_path))
    # 8 samples are two micro-batches of 4; 16 are four.
    assert [(row["micro_batch_size"], row["accumulation_steps"]) for row in rows] == [
        ("4", "1"),
        ("4", "2"),
        ("4", "4"),
    ]
    assert [(row["updates"], row["samples"]) for row in rows] == [("5", "20"), ("7", "36"), ("8", "52")]
    assert [row["samples_dropped"] for row in rows] == ["0", "4", "4"]


def test_time_outside_of_spans_is_training_and_tests_are_not_elapsed(tmp_path: Path) -> None:
    with recording(tmp_path) as run:
        with run.span("setup"):
            time.sleep(0.05)
        time.sleep(0.1)
        with run.span("test"):
            time.sleep(0.2)
        run.epoch(test_accuracy=0.5)
        with run.span("forward"):
            time.sleep(0.1)
        run.epoch(test_accuracy=0.5)
    first, second = read_epochs_csv(tmp_path / "epochs.csv")[0]
    assert 0.1 <= first.train_seconds < 0.2 <= first.test_seconds < 0.3
    assert first.forward_seconds != first.forward_seconds  # unknown: the program had not divided its training
    assert 0.1 <= not_none(second.forward_seconds) <= second.train_seconds
    assert second.elapsed_seconds == pytest.approx(first.train_seconds + second.train_seconds)
    assert read_summary(RunDir(tmp_path))["setup_seconds"] >= 0.05


def test_a_recording_goes_on_where_it_ended(tmp_path: Path) -> None:
    with recording(tmp_path, columns={"f1": float}) as run:
        run.epoch(test_accuracy=0.1, train_seconds=1.0, f1=0.1)
        run.epoch(test_accuracy=0.2, train_seconds=2.0, f1=0.2)
    assert state_of(tmp_path) == ("preempted", "the loop ended after 2 of 3 epochs")
    schedule = growing()
    train_epoch(schedule)  # as loaded from a checkpoint after epoch 1: epoch 2 is trained again
    with recording(tmp_path, schedule, columns={"f1": float}) as run:
        for accuracy in (0.3, 0.4):
            train_epoch(schedule)
            run.epoch(test_accuracy=accuracy, train_seconds=4.0, f1=accuracy)
    rows = read_rows(RunDir(tmp_path))
    assert [(row["epoch"], row["test_accuracy"], row["f1"]) for row in rows] == [
        ("1", "0.1", "0.1"),
        ("2", "0.3", "0.3"),
        ("3", "0.4", "0.4"),
    ]
    assert [row["elapsed_seconds"] for row in rows] == ["1.0", "5.0", "9.0"]
    summary = read_summary(RunDir(tmp_path))
    assert (summary["state"], summary["restarts"], summary["lost_seconds"]) == ("done", 1, 2.0)
    assert len(json.loads((tmp_path / "meta.json").read_text())["segments"]) == 2


def record_one_epoch(folder: Path, error: BaseException) -> None:
    with recording(folder) as run:
        run.epoch(test_accuracy=0.5)
        raise error


def test_an_exception_fails_the_run_and_leaves_the_context(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        record_one_epoch(tmp_path, ZeroDivisionError("division by zero"))
    state, cause = state_of(tmp_path)
    assert state == "failed"
    where = r"\(test_record\.py, line \d+, in record_one_epoch\)"
    assert re.fullmatch(rf"Exception: ZeroDivisionError: division by zero {where}", not_none(cause))
    assert read_summary(RunDir(tmp_path))["epochs"] == 1
    with recording(tmp_path) as run:
        assert state_of(tmp_path)[0] == "running"
        run.epoch(test_accuracy=0.5)
    assert not (tmp_path / "FAILED").exists()


@pytest.mark.parametrize("loss", ["train_loss", "test_loss"])
def test_a_loss_that_is_no_number_fails_the_run_as_in_our_own_trainer(tmp_path: Path, loss: str) -> None:
    values: dict[str, Any] = {"test_accuracy": 0.5, loss: float("inf")}
    with pytest.raises(NonFiniteLoss), recording(tmp_path) as run:
        run.epoch(**values)
    sentence, _, where = not_none(state_of(tmp_path)[1]).partition(" (")
    assert where.startswith("test_record.py, line ")
    assert sentence in (
        "NonFiniteLoss: the training loss became NaN or infinite in epoch 1",
        "NonFiniteLoss: the test loss became NaN or infinite in epoch 1",
    )


def test_ctrl_c_preempts(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        record_one_epoch(tmp_path, KeyboardInterrupt())
    assert state_of(tmp_path) == ("preempted", "stopped by SIGINT after 1 of 3 epochs")


def test_one_epoch_is_an_epoch(tmp_path: Path) -> None:
    schedule = BatchSchedule("fixed", num_train_samples=20, num_epochs=1, learning_rate=0.1)
    with recording(tmp_path / "left", schedule):
        pass
    assert state_of(tmp_path / "left") == ("preempted", "the loop ended after 0 of 1 epoch")
    with recording(tmp_path / "done", schedule) as run:
        run.epoch(test_accuracy=0.5)
    assert RunDir(tmp_path / "done").done.read_text().startswith("1 epoch, 20")


_WAITS = """
import sys, time
from adabatch import BatchSchedule, record
schedule = BatchSchedule("fixed", num_train_samples=20, num_epochs=3, learning_rate=0.1)
with record(sys.argv[1], schedule, seed=0, dataset="toy", network="mlp") as run:
    run.epoch(test_accuracy=0.5, train_seconds=1.0)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_sigterm_preempts_and_a_second_process_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(_WAITS)
    folder = tmp_path / "run"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert state_of(folder)[0] == "running"
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "another process is recording in it" in second.stderr
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert state_of(folder) == ("preempted", "stopped by SIGTERM after 1 of 3 epochs")
    assert json.loads((folder / "meta.json").read_text())["trainer"] == "waits.py"


def test_other_ranks_record_nothing(tmp_path: Path) -> None:
    sampler = GrowingBatchSampler(20, growing(), rank=1, world_size=2)
    with recording(tmp_path / "run", sampler) as run:
        for _ in sampler.epochs():
            for update in sampler.updates(sampler):
                list(update)
            with run.span("test"):
                run.epoch(test_accuracy=0.5)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, r"epoch 1 lacks test_accuracy; run.epoch\(test_accuracy=...\) must have it"),
        ({"test_accuracy": 0.5}, "epoch 1 lacks f1"),
        ({"test_accuracy": float("nan"), "f1": 0.5}, "test_accuracy is nan; it must be between 0 and 1"),
        ({"test_accuracy": 91.5, "f1": 0.5}, "test_accuracy is 91.5; it must be between 0 and 1"),
        ({"test_accuracy": 0.5, "f1": float("inf")}, "f1 is inf; it must be a finite number"),
        ({"test_accuracy": 0.5, "f1": 1, "f1s": 1}, "epoch 1 has a value of f1s; .* Did you mean f1?"),
        ({"test_accuracy": 0.5, "f1": 1, "train_los": 1}, "Did you mean train_loss?"),
        ({"test_accuracy": 0.5, "f1": 1, "train_seconds": -1}, "train_seconds is -1; it must be at least 0"),
        ({"test_accuracy": 0.5, "f1": 1, "batch_size": 2.5}, "batch_size is 2.5; it must be a whole number"),
        ({"test_accuracy": 0.5, "f1": 1, "epoch": 2}, "epoch is 2; it must be from 1 to 1: 0 are recorded"),
        (
            {"test_accuracy": 0.5, "f1": 1, "elapsed_seconds": 0.0},
            "elapsed_seconds is 0.0 after epoch 1; it must be more",
        ),
    ],
)
def test_wrong_numbers_are_named(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence), recording(tmp_path, columns={"f1": float}) as run:
        run.epoch(**values)


def test_an_epoch_is_recorded_once_and_in_its_turn(tmp_path: Path) -> None:
    with recording(tmp_path) as run:
        run.epoch(test_accuracy=0.5)
        with pytest.raises(ConfigError, match="epoch is 1; it must be 2, the next one: 1 are recorded"):
            run.epoch(1, test_accuracy=0.5)
    with pytest.raises(ConfigError, match="is closed"):
        run.epoch(test_accuracy=0.5)
    schedule = growing()
    with recording(tmp_path, schedule) as run:
        schedule.advance(12)
        with pytest.raises(ConfigError, match="epoch 1 is not finished; .* its 20 samples, and 12 are used"):
            run.epoch(test_accuracy=0.5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"seed": -1}, "seed is -1; it must be a whole number between 0 and"),
        ({"arm": "a b"}, "arm is a b; it must be a name"),
        ({"dataset": ""}, "dataset is ; it must be a name"),
        ({"columns": {"samples": int}}, "columns' name is samples; it must be .* no column of every run"),
        ({"columns": {"f1": str}}, "columns' f1 is str; it must be float or int"),
        ({"config": {"optimzer.kind": "sgd"}}, "config names optimzer.kind; .* Did you mean optimizer.kind?"),
        ({"config": {"schedule.batch_size": 3}}, "config names schedule.batch_size; .* the schedule says it"),
        ({"config": {"dataset.partial_batch": "keep"}}, "the sampler says it"),
        ({"config": {"seed": 3}}, "config names seed; it must be given as seed="),
        ({"config": {"optimizer.kind": object}}, "config's optimizer.kind is .* it must be text, a number"),
        ({"config": {"network": 3, "network.width": 3}}, "config names network;"),
    ],
)
def test_wrong_arguments_are_named_and_leave_no_folder(tmp_path: Path, words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        recording(tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    with recording(tmp_path / "run", columns={"f1": float}) as run:
        run.epoch(test_accuracy=0.5, f1=0.5)
    with pytest.raises(ConfigError, match="schedule.batch_size is 5, the saved one is 4. Record into another folder, "):
        recording(tmp_path / "run", growing(batch_size=5), columns={"f1": float}).__enter__()
    with pytest.raises(ConfigError, match="columns are none; they must be f1, as in the epochs"):
        recording(tmp_path / "run").__enter__()
    with recording(tmp_path / "run", columns={"f1": float}) as run:
        run.epoch(test_accuracy=0.5, f1=0.5)
        run.epoch(test_accuracy=0.5, f1=0.5)
    with pytest.raises(ConfigError, match="holds a finished run"):
        recording(tmp_path / "run", columns={"f1": float}).__enter__()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "ours" / "meta.json").write_text('{"git_sha": "abc"}')
    with pytest.raises(ConfigError, match="holds a run of adabatch, and must be a new folder"):
        recording(tmp_path / "ours").__enter__()
