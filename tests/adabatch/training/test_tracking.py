"""wandb mirrors a run; whatever happens to it, the run does not notice."""

import json
import subprocess
import sys

import pytest

from tests.adabatch.support import read_rows, read_summary

pytestmark = pytest.mark.slow

OFFLINE = ("tracker=wandb", "tracker.mode=offline")


def inspect(run_dir) -> list[dict]:
    """Read the offline file with wandb's own program."""
    (file,) = run_dir.path.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture
def clean_wandb(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


@pytest.mark.usefixtures("clean_wandb")
def test_an_offline_run_holds_every_row(train):
    run_dir = train(*OFFLINE)
    text = json.dumps(inspect(run_dir))
    for row in read_rows(run_dir):
        assert row["train_loss"] in text
        assert row["test_accuracy"] in text
    assert read_summary(run_dir)["state"] == "done"


@pytest.mark.usefixtures("clean_wandb")
def test_a_server_that_is_not_there_harms_nothing(train, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    run_dir = train("tracker=wandb", "tracker.mode=online")
    assert len(read_rows(run_dir)) == 3
    assert run_dir.done.exists()
    assert "wandb" in run_dir.log.read_text()


@pytest.mark.usefixtures("clean_wandb")
def test_no_login_harms_nothing(train, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    run_dir = train("tracker=wandb", "tracker.mode=online")
    assert run_dir.done.exists()
    assert "wandb is disabled for this run" in run_dir.log.read_text()
