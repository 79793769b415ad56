"""Loops of one's own, recorded, stand in status, tables and frames like our own runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import analysis
from adabatch import BatchSchedule, GrowingBatchSampler, record

pytestmark = pytest.mark.slow
_FACTS: dict[str, Any] = {"num_train_samples": 300, "num_epochs": 3, "learning_rate": 0.1}


def growing() -> BatchSchedule:
    return BatchSchedule("adabatch", batch_size=10, every_epochs=1, **_FACTS)


def ramp() -> BatchSchedule:
    return BatchSchedule("linear_ramp", batch_size=10, final_batch_size=50, **_FACTS)


def train_digits(folder: Path, arm: str, schedule: BatchSchedule, seed: int, momentum: float = 0.9) -> None:
    """A plain torch loop on handwritten digits."""
    images, labels = (torch.from_numpy(values) for values in load_digits(return_X_y=True))
    train, test = (
        TensorDataset(images[:300].float() / 16, labels[:300]),
        (images[300:400].float() / 16, labels[300:400]),
    )
    torch.manual_seed(seed)
    network = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum)
    sampler = GrowingBatchSampler(train, schedule, seed=seed, max_micro_batch_size=16)
    loader = DataLoader(train, batch_sampler=sampler)
    words: dict[str, Any] = {"dataset": "digits", "network": "linear", "sweep": "mine", "columns": {"f1": float}}
    config = {"optimizer.kind": "sgd", "optimizer.momentum": momentum}
    with record(folder, sampler, seed=seed, arm=arm, baseline="small", config=config, **words) as run:
        for _ in sampler.epochs():
            for update in sampler.updates(loader):
                for micro in update:
                    inputs, targets = micro.batch
                    (micro.weight * torch.nn.functional.cross_entropy(network(inputs), targets)).backward()
                schedule.apply(optimizer)
                optimizer.step()
                optimizer.zero_grad()
            with run.span("test"):
                accuracy = float((network(test[0]).argmax(1) == test[1]).double().mean())
            run.epoch(test_accuracy=accuracy, f1=accuracy / 2)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two arms with two seeds."""
    _record_arms(tmp_path / "mine", growing)
    return tmp_path / "mine"


def _record_arms(folder: Path, make: Callable[[], BatchSchedule]) -> None:
    for seed in (0, 1):
        train_digits(folder / "small" / f"seed_{seed}", "small", make().twin(), seed)
        train_digits(folder / "growing" / f"seed_{seed}", "growing", make(), seed)


def command(*words: str | Path) -> str:
    answer = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_commands_and_frames_read_recorded_runs(sweep: Path, tmp_path: Path) -> None:
    status = command("launch", "status", sweep)
    assert "4 runs: 4 done" in " ".join(status.split())  # the path of the folder may be long
    assert status.count("3/3") == 4
    tables = command("analysis", "tables", sweep)
    assert "Speedup: digits-linear, against small" in tables
    assert "refused" not in tables.lower()
    assert "its settings are as declared, not verified" in tables
    command("analysis", "report", sweep, "-o", tmp_path / "report.html")
    assert "digits-linear" in (tmp_path / "report.html").read_text()


def test_frames_hold_the_metrics_of_the_program(sweep: Path) -> None:
    data = analysis.load(sweep)
    assert data.epochs.f1.tolist() == (data.epochs.test_accuracy / 2).tolist()
    assert data.runs.final_f1.tolist() == (data.runs.final_test_accuracy / 2).tolist()
    assert set(data.runs.source) == {"recorded"}
    assert data.runs.damage.isna().all()
    assert data.runs.hash_matches.all()
    rows = data.epochs[data.epochs.arm == "growing"]
    # 300 samples in batches of 10, 20 and 40, of which 16 fit: 10, 10 + 10, and 14 + 13 + 13
    assert rows.updates.tolist() == [30, 45, 53] * 2
    assert rows.batch_size.tolist() == [10, 20, 40] * 2
    assert rows.micro_batch_size.tolist() == [10, 10, 14] * 2
    comparison = analysis.compare(data)
    assert comparison.quality.query("arm == 'growing'").pairs.tolist() == [2]
    # the loop has no span of its own for the forward pass
    verdicts = comparison.speedup.set_index("quantity").verdict
    assert verdicts["forward"] == verdicts["backward"] == "not measured"
    assert comparison.matching.refused.empty


def test_arms_whose_batch_changes_within_epochs_are_matched_by_their_plans(tmp_path: Path) -> None:
    _record_arms(tmp_path, ramp)
    comparison = analysis.compare(analysis.load(tmp_path))
    assert comparison.matching.refused.empty
    assert comparison.quality.query("arm == 'growing'").pairs.tolist() == [2]
    # the loop has no span of its own for the forward pass
    verdicts = comparison.speedup.set_index("quantity").verdict
    assert verdicts["forward"] == verdicts["backward"] == "not measured"


def test_recorded_runs_that_differ_in_more_than_the_schedule_are_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        train_digits(tmp_path / "small" / f"seed_{seed}", "small", growing().twin(), seed)
        train_digits(tmp_path / "growing" / f"seed_{seed}", "growing", growing(), seed, momentum=0.5)
    refused = analysis.compare(analysis.load(tmp_path)).matching.refused
    assert set(refused.key) == {"optimizer.momentum"}


def test_an_edited_config_is_damage(sweep: Path) -> None:
    config = sweep / "small" / "seed_0" / "config.yaml"
    config.write_text(config.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    damage = analysis.load(sweep).runs.damage
    assert damage.notna().sum() == 1
    assert "config.yaml was changed" in damage.dropna().iloc[0]
