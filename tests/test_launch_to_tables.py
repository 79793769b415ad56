"""What launch writes into run directories is what analysis reads there: sweeps on this machine, from both sides."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import analysis
from adabatch.config import load_config
from adabatch.rundir.files import RunDir, find_runs
from adabatch.rundir.journal import Journal
from adabatch.rundir.outcome import Failure, mark_failed
from analysis.cli import main as analysis_main
from analysis.tables import make_tables
from tests.launch.support import Launch, launching
from tests.warm_python import warm_python

LOCAL = "cluster=local"


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    monkeypatch.setattr(sys, "executable", warm_python())
    with launching(tmp_path) as calls:
        yield calls


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class _NoQueue:
    """A queue that ends at once, as one does whose machine is switched off."""

    def run(self) -> None:
        return


@pytest.mark.slow
def test_a_run_that_goes_on_under_other_circumstances_says_so(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went side by side with it is told of every submission that trained it, and of no other."""
    words = ("submit", "sweep=one", LOCAL, "optimizer.learning_rate=1e30")
    assert launch(*words, "--jobs", "2").status == 1
    with monkeypatch.context() as patch:
        patch.setattr("launch.hand_over.foreground_queue", lambda *_: _NoQueue())
        assert launch(*words, "--jobs", "3").status == 1
    assert launch(*words, "--jobs", "2").status == 1
    assert analysis.load(launch.runs_dir / "one").runs.concurrent_runs.tolist() == [2]
    assert launch(*words, "cluster.runs_per_job=4").status == 1
    (row,) = analysis.load(launch.runs_dir / "one").runs.itertuples()
    assert (row.concurrent_runs, row.runs_per_job) == ("2, then 4", "1, then 4")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_forecast_stands_beside_what_came_out(launch: Launch) -> None:
    answer = launch("submit", "sweep=two", "--forecast", "sweep.seeds=[0]", "cluster=local")
    assert answer.status == 0, answer.out + answer.err
    for run in launch.states("two").values():
        meta = json.loads((Path(run["run_dir"]) / "meta.json").read_text())["launch"]
        assert all(meta["forecast"][f"{part}_seconds"] >= 0 for part in ("train", "growth", "test"))
        assert meta["forecast"]["uses_graphs"] is False
        assert meta["asked_hash"]
        assert load_config(Path(run["run_dir"]) / "config.yaml").num_epochs == 2
    data = analysis.load(launch.runs_dir / "two")
    assert (data.runs.forecast_seconds > 0).all()
    tables = {table.name: table for table in make_tables(analysis.compare(data))}
    assert [row[0] for row in tables["forecast"].rows] == ["adaptive", "fixed"]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_run_that_goes_on_keeps_what_was_predicted_before_it_started(launch: Launch) -> None:
    words = ("submit", "sweep=two", "sweep.seeds=[0]", "cluster=local", "optimizer.learning_rate=1e30")
    assert launch(*words, "--forecast").status == 1
    predicted = analysis.load(launch.runs_dir / "two").runs.forecast_seconds
    assert (predicted > 0).all()
    assert launch(*words).status == 1
    assert {run["attempts"] for run in launch.states("two").values()} == {2}
    assert analysis.load(launch.runs_dir / "two").runs.forecast_seconds.equals(predicted)


@pytest.mark.slow
def test_tables_mark_what_was_trained_anew(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("submit", "sweep=two", "sweep.seeds=[0]", LOCAL).status == 0
    folder = launch.runs_dir / "two"
    for arm, expected in ((None, False), ("fixed", True)):  # the baseline's run was, too
        if arm is not None:
            assert launch("rerun", str(next(folder.glob(f"*/{arm}/seed_0")))).status == 0
        capsys.readouterr()
        analysis_main(["tables", str(folder)])
        assert ("some runs were trained anew by rerun" in capsys.readouterr().out) is expected


@pytest.mark.slow
def test_a_sweep_of_which_nothing_is_done_says_so(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing has started, or all was cancelled in its queue, or all failed at its start."""
    monkeypatch.setattr("launch.hand_over.foreground_queue", lambda *_: _NoQueue())
    launch("submit", "sweep=two", LOCAL)
    folder = launch.runs_dir / "two"
    journal = Journal(folder)
    for state in ("missing", "cancelled", "failed"):
        if state == "cancelled":
            journal.record_cancellation(list(launch.states("two")))
        elif state == "failed":
            for path in find_runs(folder):
                mark_failed(RunDir(path), Failure("ConfigError", "there is no GPU", ""))
        assert {run["state"] for run in launch.states("two").values()} == {state}
        assert set(analysis.load(folder).runs.state) == {state}
        for style in ("text", "markdown", "latex"):
            assert analysis_main(["tables", str(folder), "--format", style]) == 0
            assert "No run is done." in capsys.readouterr().out
        assert analysis_main(["report", str(folder)]) == 0
        assert "No run is done." in (folder / "report.html").read_text()
        capsys.readouterr()
        assert analysis_main(["figure", str(folder)]) == 2
        assert "There is nothing to draw: no run is done and comparable." in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.slow
def test_ranks_that_grow_with_the_batch_are_compared_in_both_currencies(launch: Launch) -> None:
    """A fixed batch of 8 has one rank, the growing one two from 16 on; the sweep declares both by one value."""
    devices = "hardware.devices={8: 1, 16: 2}"
    answer = launch("submit", "sweep=two", LOCAL, "hardware.num_devices=2", devices)
    assert answer.status == 0, answer.err
    data = analysis.load(launch.runs_dir / "two")
    ranks = data.runs.groupby("arm").world_size.first()
    assert ranks.to_dict() == {"adaptive": "1, then 2", "fixed": 1}
    comparison = analysis.compare(data)
    assert len(comparison.matching.pairs) == 2
    assert len(comparison.matching.refused) == 0
    own = data.runs[data.runs.arm == "adaptive"]
    # The second of two epochs is paid for twice.
    second = data.epochs[(data.epochs.run == own.index[0]) & (data.epochs.epoch == 2)].iloc[0]
    both = second.train_seconds + second.growth_seconds
    assert own.device_seconds.iloc[0] == pytest.approx(own.elapsed_seconds.iloc[0] + both)
    [table] = [table for table in make_tables(comparison) if table.name == "devices"]
    assert "x in time for " in table.frame["in words"][0]
    assert "the device-hours" in table.frame["in words"][0]
