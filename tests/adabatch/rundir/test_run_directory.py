"""What a run leaves behind, read as analysis and people read it."""

import dataclasses
import json

import pytest

from adabatch.config import config_hash, load_config
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import default_run_dir, run_config
from adabatch.rundir.columns import COLUMNS
from tests.adabatch.support import TINY, assert_equal_bits, read_rows, read_summary, without_seconds

DESIGNED_COLUMNS = """
    epoch updates samples batch_size micro_batch_size accumulation_steps world_size learning_rate train_loss
    train_accuracy test_loss test_accuracy train_seconds data_seconds forward_seconds backward_seconds
    update_seconds growth_seconds test_seconds elapsed_seconds
    """.split()


def test_epochs_csv_by_hand(train):
    run_dir = train("max_micro_batch_size=10")
    assert list(COLUMNS[: len(DESIGNED_COLUMNS)]) == DESIGNED_COLUMNS
    rows = read_rows(run_dir)
    # 60 samples in batches of 8, 16, 32, the partial ones kept: 8, 4 and 2 updates
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    assert columns["epoch"] == ["1", "2", "3"]
    assert columns["updates"] == ["8", "12", "14"]
    assert columns["samples"] == ["60", "120", "180"]
    assert columns["batch_size"] == ["8", "16", "32"]
    assert columns["micro_batch_size"] == ["8", "8", "8"]
    assert columns["accumulation_steps"] == ["1", "2", "4"]
    assert [float(rate) for rate in columns["learning_rate"]] == pytest.approx([0.01, 0.0075, 0.005625])
    assert columns["samples_dropped"] == ["0", "0", "0"]


def test_dropped_samples_are_counted(train):
    run_dir = train("dataset.partial_batch=drop")
    # 60 = 7 * 8 + 4 = 3 * 16 + 12 = 1 * 32 + 28
    assert [row["samples_dropped"] for row in read_rows(run_dir)] == ["4", "12", "28"]
    summary = read_summary(run_dir)
    assert (summary["samples"], summary["samples_dropped"]) == (56 + 48 + 32, 44)
    assert [(stage["batch_size"], stage["samples_used_once"]) for stage in summary["stages"]] == [
        (8, 56),
        (16, 48),
        (32, 32),
    ]


def test_summary_agrees_with_the_rows(train):
    run_dir = train()
    rows, summary = read_rows(run_dir), read_summary(run_dir)
    assert summary["state"] == "done"
    assert run_dir.done.exists()
    assert not run_dir.failed.exists()
    for name in ("train_loss", "test_loss", "test_accuracy"):
        assert summary[name] == float(rows[-1][name])
    assert summary["best_test_accuracy"] == max(float(row["test_accuracy"]) for row in rows)
    for name in ("train_seconds", "forward_seconds", "backward_seconds", "test_seconds"):
        total = sum(float(row[name]) for row in rows)
        assert summary[name] == pytest.approx(total, rel=0.05, abs=0.005)
    assert float(rows[-1]["elapsed_seconds"]) == pytest.approx(
        sum(float(row["train_seconds"]) + float(row["growth_seconds"]) for row in rows), rel=0.05, abs=0.005
    )


def test_spans_add_up_to_training(train):
    for row in read_rows(train()):
        parts = sum(float(row[f"{span}_seconds"]) for span in ("data", "forward", "backward", "update"))
        assert parts == pytest.approx(float(row["train_seconds"]), rel=1e-9)


def test_meta_says_what_ran(train):
    run_dir = train()
    meta = json.loads(run_dir.meta.read_text())
    assert meta["device"] == "cpu"
    assert meta["num_threads"] == 1
    assert meta["restarts"] == 0
    assert meta["config_hash"] == config_hash(load_config(run_dir.config))
    assert meta["num_parameters"] > 0
    assert meta["torch"]


def test_same_seed_same_rows_and_weights_and_another_seed_others(train):
    one, two, other = train(name="one"), train(name="two"), train("seed=1", name="other")
    assert without_seconds(one) == without_seconds(two)
    assert_equal_bits(one, two)
    assert without_seconds(one) != without_seconds(other)


def test_a_schedule_that_never_grows_equals_fixed_bit_for_bit(train):
    adaptive = train("schedule.batch_growth=1", "schedule.learning_rate_decay=0.375", name="adaptive")
    fixed = train("schedule=fixed", name="fixed")
    assert without_seconds(adaptive) == without_seconds(fixed)
    assert_equal_bits(adaptive, fixed)


def test_a_saved_config_loads_to_an_equal_one(train):
    run_dir = train()
    config = compose([*TINY, f"run_dir={run_dir.path}"])
    assert load_config(run_dir.config) == config


def test_a_finished_run_is_recognised(train, capsys):
    run_dir = train()
    before = run_dir.epochs.read_bytes()
    train()
    assert "is already finished" in capsys.readouterr().out
    assert run_dir.epochs.read_bytes() == before


def test_another_config_is_refused_by_name(train):
    train()
    ways = "another one with run_dir=FOLDER, repeat the call with the saved values .*, or delete the folder"
    with pytest.raises(ConfigError, match=f"optimizer.learning_rate is 0.5, the saved one is 0.01. Give {ways}"):
        train("optimizer.learning_rate=0.5")


def test_what_cannot_change_a_result_is_no_other_config(train):
    train()
    train("tracker.project=other", "checkpoint.every_epochs=1", "hardware.profile=false")


def test_a_batch_larger_than_the_data_is_capped_and_said(train):
    run_dir = train("schedule=fixed", "schedule.batch_size=240", "num_epochs=1")
    row = read_rows(run_dir)[0]
    assert (row["batch_size"], row["updates"]) == ("60", "1")
    assert float(row["learning_rate"]) == pytest.approx(0.01 * 60 / 240)
    assert "capped at the data set's 60 samples" in run_dir.log.read_text()


def test_default_run_directories_are_readable_and_not_shared():
    config = compose([*TINY])
    paths = [default_run_dir(dataclasses.replace(config, seed=seed)) for seed in (1, 2)]
    paths.append(default_run_dir(compose([*TINY, "optimizer.momentum=0.5"])))
    assert len(set(paths)) == 3
    assert all(path.parts[:3] == ("runs", "single", "synthetic-tiny_cnn") for path in paths)


def test_a_run_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="run_dir is .*file/run; it must be a folder that can be written"):
        run_config(compose([*TINY, f"run_dir={tmp_path / 'file' / 'run'}"]))
