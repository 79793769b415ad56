"""wandb mirrors a run; whatever happens to it, the run does not notice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import update_meta
from tests.adabatch.support import read_rows, read_summary

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def clean_wandb(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WANDB_MODE", raising=False)


def inspect(run_dir: RunDir) -> list[dict[str, Any]]:
    """Read the offline file with wandb's own program."""
    (file,) = run_dir.path.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def of_type(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [record[name] for record in records if record["type"] == name]


def test_an_offline_run_holds_every_row_and_every_decision(train):
    run_dir = train("tracker=wandb")
    records = inspect(run_dir)
    logged = [record["item"] for record in of_type(records, "history")]
    rows = read_rows(run_dir)
    assert [item["_step"] for item in logged] == [1, 2, 3]
    for row, item in zip(rows, logged, strict=True):
        assert {name: item[name] for name in ("train_loss", "test_accuracy")} == {
            name: float(row[name]) for name in ("train_loss", "test_accuracy")
        }
    # 60 samples in batches of 8, 16 and 32; the rate falls by 0.75 where the batch doubles
    assert [decision[:3] for item in logged for decision in item["decisions"]] == [
        [0, 0, 8],
        [8, 60, 16],
        [12, 120, 32],
    ]
    assert [item["decisions"][0][3] for item in logged] == pytest.approx([0.01, 0.0075, 0.005625])
    assert read_summary(run_dir)["state"] == "done"
    assert of_type(records, "stats") == []


def test_runs_of_no_sweep_are_told_apart_by_name_and_carry_tags_and_notes(train):
    words = ("tracker=wandb", "tracker.tags=[first try,cpu]", "tracker.notes=a note", "schedule.batch_growth=4")
    run_dir = train(*words, "tracker.system_metrics=true")
    records = inspect(run_dir)
    (run,) = of_type(records, "run")
    digits = json.loads(run_dir.meta.read_text())["config_hash"].rpartition("-")[2][:8]
    assert run["display_name"] == f"synthetic-tiny_cnn/stepwise_8_x4/seed_0-{digits}"
    assert (run["run_group"], run["job_type"]) == ("synthetic-tiny_cnn", "stepwise_8_x4")
    assert (run["tags"], run["notes"]) == (["first try", "cpu"], "a note")
    assert of_type(records, "stats")


def test_runs_of_a_sweep_have_its_names(train, tmp_path):
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    update_meta(run_dir, launch={"sweep": "demo", "cell": "digits-net", "arm": "growing,width=8", "baseline": "small"})
    train("tracker=wandb", "seed=3")
    (run,) = of_type(inspect(run_dir), "run")
    assert run["display_name"] == "digits-net/growing,width=8/seed_3"
    assert (run["run_group"], run["job_type"]) == ("demo", "growing,width=8")


def test_a_name_of_ones_own_goes_first(train):
    run_dir = train("tracker=wandb", "tracker.run_name=mine")
    (run,) = of_type(inspect(run_dir), "run")
    assert run["display_name"] == "mine"


@pytest.mark.parametrize(
    ("variable", "mode", "writes"),
    [
        ("disabled", "offline", False),
        (None, "disabled", False),
        ("", "offline", True),
        ("offline", "online", True),
        ("dryrun", "disabled", True),
    ],
)
def test_the_variable_goes_before_the_key(train, monkeypatch, variable, mode, writes):
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    threads = threading.active_count()
    run_dir = train("tracker=wandb", f"tracker.mode={mode}")
    assert len(list(run_dir.path.glob("wandb/offline-run-*"))) == writes
    assert "disabled for this run" not in run_dir.log.read_text()
    assert writes or threading.active_count() == threads


def test_a_mode_that_wandb_does_not_know_costs_a_sentence(train, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ConfigError, match=r"WANDB_MODE is ofline; it must be one of online, offline, disabled"):
        train("tracker=wandb")
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_not_there_harms_nothing(train, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    run_dir = train("tracker=wandb", "tracker.mode=online")
    assert len(read_rows(run_dir)) == 3
    assert run_dir.done.exists()
    assert "wandb" in run_dir.log.read_text()


def test_no_login_harms_nothing(train, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    run_dir = train("tracker=wandb", "tracker.mode=online")
    assert run_dir.done.exists()
    assert "wandb is disabled for this run" in run_dir.log.read_text()
