"""Rows of short epochs are written together, and none is missing from what is saved or has ended."""

import math
import time

import pytest

from adabatch.rundir.files import RunDir
from adabatch.training import loop, reporting
from tests.adabatch.support import read_rows, read_summary


@pytest.fixture
def written(monkeypatch):
    """How many rows each writing of ``epochs.csv`` held."""
    counts = []
    write = reporting.write_epochs_csv

    def counting_write(path, rows, own):
        write(path, rows, own)
        counts.append(len(rows))

    monkeypatch.setattr(reporting, "write_epochs_csv", counting_write)
    return counts


@pytest.fixture
def fail_in_third_epoch(monkeypatch):
    evaluate, calls = loop.evaluate, []

    def failing_evaluate(*arguments, **own):
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("something else")
        return evaluate(*arguments, **own)

    monkeypatch.setattr(loop, "evaluate", failing_evaluate)


@pytest.mark.parametrize(("interval_seconds", "counts"), [(math.inf, [0, 3]), (0.0, [0, 1, 2, 3])])
def test_rows_wait_for_the_interval_or_the_end(interval_seconds, counts, train, written, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", interval_seconds)
    run_dir = train()
    assert written == counts
    assert len(read_rows(run_dir)) == 3


def test_a_row_that_waits_does_not_wait_for_the_next_epoch_to_end(train, written, monkeypatch):
    on_epoch = reporting.MainReporter.on_epoch

    def on_epoch_soon_after_a_writing(*arguments):
        monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", math.inf)
        on_epoch(*arguments)
        monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", 0.0)

    monkeypatch.setattr(reporting.MainReporter, "on_epoch", on_epoch_soon_after_a_writing)
    train()
    assert written == [0, 1, 2, 3]


def test_writing_a_row_counts_as_saving_in_the_next_one(train, monkeypatch):
    write, seconds = reporting.write_epochs_csv, 0.05

    def slow_write(path, rows, own):
        time.sleep(seconds)
        write(path, rows, own)

    monkeypatch.setattr(reporting, "write_epochs_csv", slow_write)
    monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", 0.0)
    run_dir = train()
    first, *others = (float(row["save_seconds"]) for row in read_rows(run_dir))
    assert seconds <= min(others)
    assert first + sum(others) + seconds <= read_summary(run_dir)["save_seconds"]


def test_rows_are_on_disk_before_the_checkpoint_that_holds_them(train, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", math.inf)
    save, checked = loop.save_checkpoint, []

    def checking_save(run_dir, config_hash, state):
        assert len(read_rows(run_dir)) == len(state["rows"])
        checked.append(len(state["rows"]))
        save(run_dir, config_hash, state)

    monkeypatch.setattr(loop, "save_checkpoint", checking_save)
    train("checkpoint.every_epochs=1")
    assert checked == [1, 2, 3, 3]


@pytest.mark.usefixtures("fail_in_third_epoch")
def test_a_run_that_fails_keeps_the_rows_that_waited(train, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", math.inf)
    run_dir = train(status=1)
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1", "2"]
    assert read_summary(run_dir)["epochs"] == 2


@pytest.mark.usefixtures("fail_in_third_epoch")
def test_rows_that_the_disk_refuses_at_the_end_do_not_hide_why_the_run_ended(train, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_INTERVAL_SECONDS", math.inf)
    write = reporting.write_epochs_csv

    def refuse_rows(path, rows, own):
        if rows:
            raise OSError(28, "No space left on device", str(path))
        write(path, rows, own)

    monkeypatch.setattr(reporting, "write_epochs_csv", refuse_rows)
    run_dir: RunDir = train(status=1)
    assert "RuntimeError: something else" in str(read_summary(run_dir)["cause"])
    assert "the last rows of" in run_dir.log.read_text()
    assert read_rows(run_dir) == []
