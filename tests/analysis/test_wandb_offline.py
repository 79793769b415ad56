"""What the tracker wrote offline gives the run directories back, number for number."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import wandb

import analysis
from adabatch.config import TrackerConfig, load_config, to_dict
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import run_config
from adabatch.rundir.columns import EpochRow
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import update_meta
from adabatch.trackers.labels import RunLabels
from adabatch.trackers.wandb import WandbTracker
from adabatch.training.reporting import MainReporter
from analysis.cli import main
from analysis.wandb_offline import read_offline
from tests.adabatch.support import TINY, read_rows, read_summary

pytestmark = pytest.mark.slow

LAUNCH = {"sweep": "demo", "cell": "synthetic-tiny_cnn", "arm": "adaptive", "baseline": "fixed", "swept": {}}
#: Resumed and killed runs need more than three epochs.
LONG = (*TINY, "num_epochs=7", "checkpoint.every_epochs=3")


@pytest.fixture(autouse=True)
def clean_wandb(monkeypatch, tmp_path):
    wandb.teardown()
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    yield
    wandb.teardown()


@pytest.fixture
def train(tmp_path):
    """Return a function that trains with the tracker in this process, and waits until wandb's file is whole."""

    def run(*overrides, name="original", status=0):
        run_dir = RunDir(tmp_path / "runs" / name)
        run_dir.path.mkdir(parents=True, exist_ok=True)
        assert run_config(compose([*TINY, "tracker=wandb", f"run_dir={run_dir.path}", *overrides])) == status
        wandb.teardown()
        return run_dir

    return run


@pytest.fixture
def reports():
    return []


@pytest.fixture
def read(tmp_path, reports):
    """Return a function that reads all runs into ``tmp_path / "read"``."""
    return lambda folder=tmp_path / "runs": read_offline(folder, tmp_path / "read", report=reports.append)


def offline_files(run_dir):
    return sorted(run_dir.path.glob("wandb/offline-run-*/*.wandb"))


def without_source(run_dir):
    meta = json.loads(run_dir.meta.read_text())
    return {key: value for key, value in meta.items() if key not in ("source", "wandb")}


def assert_equal_runs(run_dir, copy):
    assert copy.epochs.read_text() == run_dir.epochs.read_text()
    assert copy.config.read_text() == run_dir.config.read_text()
    assert without_source(copy) == without_source(run_dir)
    assert read_summary(copy) == read_summary(run_dir)


def test_a_run_comes_back_as_the_directory_that_it_was(train, read, reports, tmp_path):
    RunDir(tmp_path / "runs/original").path.mkdir(parents=True)
    update_meta(RunDir(tmp_path / "runs/original"), launch=LAUNCH)
    run_dir = train()
    (path,) = read()
    copy = RunDir(path)
    assert path == tmp_path / "read/demo/synthetic-tiny_cnn/adaptive/seed_0"
    assert_equal_runs(run_dir, copy)
    assert copy.done.exists()
    assert not copy.failed.exists()
    assert json.loads(copy.meta.read_text())["source"] == "wandb"
    assert reports == []


def test_frames_do_not_tell_whether_they_come_from_wandb_or_from_csv(train, read):
    run_dir = train()
    (path,) = read()
    ours, theirs = analysis.load(run_dir.path), analysis.load(path)
    own = ["run", "source"]
    one, other = (data.runs.drop(columns=own, errors="ignore").reset_index(drop=True) for data in (ours, theirs))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    one, other = (data.epochs.drop(columns="run") for data in (ours, theirs))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_reading_again_gives_the_same(train, read):
    train()
    (path,) = read()
    first = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "DONE"}
    assert read() == [path]
    assert {file.name: file.read_bytes() for file in path.iterdir() if file.name != "DONE"} == first


def test_the_segments_of_a_stopped_run_are_merged(train, read, monkeypatch, reports):
    on_epoch = MainReporter.on_epoch

    def stop_after_two_epochs(self, rows, own):
        on_epoch(self, rows, own)
        if len(rows) % 2 == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MainReporter, "on_epoch", stop_after_two_epochs)
    train(*LONG, status=75)
    train(*LONG, status=75)
    (path,) = read()
    assert analysis.load(path).runs.state.to_list() == ["preempted"]
    monkeypatch.setattr(MainReporter, "on_epoch", on_epoch)
    run_dir = train(*LONG)
    assert len(offline_files(run_dir)) == 3
    assert read() == [path]
    assert_equal_runs(run_dir, RunDir(path))
    assert RunDir(path).done.exists()
    assert reports == []


KILLED = """
import os, sys, time
from pathlib import Path
from adabatch.config.compose import compose
from adabatch.training.reporting import MainReporter
from adabatch.run import run_config
on_epoch = MainReporter.on_epoch
FOLDER = Path(sys.argv.pop(1))
def die(self, rows, own):
    on_epoch(self, rows, own)
    if len(rows) == 6:
        while not any(path.read_bytes().count(b"test_top5_accuracy") >= 6 for path in FOLDER.rglob("*.wandb")):
            time.sleep(0.1)  # wandb starts, and keeps rows to itself for a while
        os._exit(9)
MainReporter.on_epoch = die
run_config(compose(sys.argv[1:]))
"""


def test_epochs_that_a_killed_run_repeats_count_as_they_were_last(train, read, tmp_path):
    run_dir = RunDir(tmp_path / "runs/original")
    words = [*LONG, "tracker=wandb", f"run_dir={run_dir.path}"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run_dir.path), *words], stderr=subprocess.DEVNULL, timeout=120
    )
    assert killed.returncode == 9
    (path,) = read()
    lost = read_rows(RunDir(path))
    assert len(lost) >= 5
    (state,) = analysis.load(path).runs.state
    assert state in ("running", "stale")
    train(*LONG)
    (path,) = read()
    assert RunDir(path).epochs.read_text() == run_dir.epochs.read_text()
    assert read_rows(RunDir(path))[4]["elapsed_seconds"] != lost[4]["elapsed_seconds"]
    assert read_summary(RunDir(path)) == read_summary(run_dir)


@pytest.fixture
def track(train):
    """Return a function that tells the tracker rows of our own making, and the rows of a real run."""
    run_dir = train("tracker=none", name="untracked")
    config = {**to_dict(load_config(run_dir.config)), "adabatch": json.loads(run_dir.meta.read_text())}
    real_rows = [{name: _value(text) for name, text in row.items()} for row in read_rows(run_dir)]

    def tell(rows, summary, status):
        settings = TrackerConfig(kind="wandb")
        labels = RunLabels("odd", "group", "job")
        tracker = WandbTracker(settings, config, run_id="odd", labels=labels, folder=run_dir.path)
        tracker.decide(0, 0, 8, 0.01)
        for row in rows:
            tracker.log(dataclasses.asdict(EpochRow(**row)))
        tracker.finish(summary, status)
        wandb.teardown()

    return tell, real_rows


def test_numbers_that_are_none_survive(track, read, tmp_path):
    tell, rows = track
    rows[1] |= {"test_loss": math.nan, "train_loss": math.inf, "learning_rate": 2.0, "test_top5_accuracy": 0.1 + 0.2}
    tell(rows, {"state": "failed", "cause": "NonFiniteLoss: the loss is NaN", "test_loss": math.nan}, 1)
    (path,) = read()
    assert path == tmp_path / "read/odd"
    second = read_rows(RunDir(path))[1]
    assert (second["test_loss"], second["train_loss"], second["learning_rate"]) == ("nan", "inf", "2.0")
    assert second["test_top5_accuracy"] == "0.30000000000000004"
    assert RunDir(path).failed.read_text().startswith("NonFiniteLoss: the loss is NaN\n")
    assert read_summary(RunDir(path))["cause"] == "NonFiniteLoss: the loss is NaN"


def test_epochs_after_the_checkpoint_of_a_restart_are_void(track, read):
    tell, rows = track
    tell(rows, {"state": "preempted", "cause": "stopped"}, 75)
    tell([{**rows[1], "test_loss": 5.0}], {"state": "preempted", "cause": "stopped"}, 75)
    (path,) = read()
    assert [(row["epoch"], row["test_loss"] == "5.0") for row in read_rows(RunDir(path))] == [("1", False), ("2", True)]


def _value(text):
    return None if text == "" else int(text) if text.isdigit() else float(text)


def test_torn_and_foreign_files_are_named_and_the_others_read(train, read, reports, tmp_path):
    run_dir = train()
    (whole,) = offline_files(run_dir)
    content = whole.read_bytes()
    parts = {"empty": b"", "short": content[:40], "noise": b"no such thing", "torn": content[: len(content) * 2 // 3]}
    for name, part in parts.items():
        folder = tmp_path / "runs" / name
        folder.mkdir()
        (folder / f"run-{name}.wandb").write_bytes(part)
    with wandb.init(mode="offline", dir=tmp_path / "runs/noise", id="foreign", config={"depth": 3}) as run:
        run.log({"loss": 1.0})
    paths = read()
    assert len(reports) == 4
    said = "\n".join(reports)
    for name in ("run-empty", "run-short", "run-noise", "run-foreign"):
        assert f"{name}.wandb is left out: " in said
    assert "was not made by this trainer" in said
    assert "wandb cannot read it" in said
    # Both files of the run tell the same start; the torn one does not take epochs away from the whole one.
    assert len(paths) == 1
    assert len(read_rows(RunDir(paths[0]))) == 3


def test_a_run_torn_at_its_end_keeps_what_is_readable_and_is_not_done(train, read, reports):
    (file,) = offline_files(train())
    content, key = file.read_bytes(), b"test_top5_accuracy"
    in_last_row = content.rindex(key, 0, content.rindex(key))  # the last of all is in the summary
    file.write_bytes(content[:in_last_row])
    time_before = time.time()
    (path,) = read()
    assert len(read_rows(RunDir(path))) == 2
    assert not RunDir(path).done.exists()
    assert json.loads(RunDir(path).progress.read_text())["time"] < time_before
    assert reports == []


def test_what_does_not_come_from_wandb_is_never_written_to(train, read, reports, tmp_path):
    train()
    (path,) = read()
    for file in path.iterdir():
        file.unlink()
    (path / "config.yaml").write_text("mine")
    assert read() == []
    assert "holds something that does not come from wandb" in reports[0]
    assert [file.name for file in path.iterdir()] == ["config.yaml"]


def test_wrong_folders_cost_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere does not exist; it must be a folder with offline runs"):
        read_offline(tmp_path / "nowhere", tmp_path / "read")
    with pytest.raises(ConfigError, match=r"holds no \.wandb file"):
        read_offline(tmp_path, tmp_path / "read")


def test_the_readers_are_light():
    heavy = "import sys, analysis.wandb_api, analysis.wandb_offline; print({'torch', 'wandb'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_the_command_tells_what_it_wrote_and_what_it_left_out(train, tmp_path, capsys):
    run_dir = train()
    (broken := tmp_path / "runs" / "offline-run-broken").mkdir()
    (broken / "run-broken.wandb").write_bytes(b"")
    capsys.readouterr()
    assert main(["read-wandb", str(tmp_path / "runs"), "-o", str(tmp_path / "read")]) == 0
    told = capsys.readouterr()
    (path,) = told.out.split()
    assert (RunDir(path).epochs).read_bytes() == run_dir.epochs.read_bytes()
    assert "run-broken.wandb" in told.err
    assert main(["tables", path]) == 0


def test_the_command_refuses_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["read-wandb", str(tmp_path / "nowhere"), "-o", str(tmp_path / "read")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
