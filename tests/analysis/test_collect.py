"""From files to frames; damage is a state with a cause, never a gap and never a zero."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import analysis
from adabatch.errors import ConfigError
from adabatch.rundir.states import State
from analysis import Collector
from tests.analysis.runs import write_run
from tests.conftest import Train


@pytest.mark.slow
def test_a_real_run_gives_its_own_numbers(train: Train) -> None:
    run = train("schedule=adabatch")
    data = analysis.load(run.path)
    row = data.runs.loc[run.path.as_posix()]
    summary = json.loads(run.summary.read_text())
    assert row.state == "done"
    assert row.arm == "stepwise_8_x2"
    assert row.cell == "synthetic-tiny_cnn"
    assert row.final_test_accuracy == summary["test_accuracy"]
    assert row.best_test_accuracy == summary["best_test_accuracy"]
    assert row.best_epoch == summary["best_epoch"]
    assert row.updates == summary["updates"] == 8 + 4 + 2
    for name in ("elapsed_seconds", "forward_seconds", "backward_seconds", "test_seconds"):
        assert row[name] == pytest.approx(summary[name])
    assert list(data.epochs.batch_size) == [8, 16, 32]
    assert row["schedule.batch_growth"] == 2


def test_results_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, accuracies=(0.5, 0.9, 0.8), epoch_seconds=(1, 2, 3), batches=10)
    row = analysis.load(tmp_path).runs.iloc[0]
    assert row.final_test_accuracy == 0.8
    assert (row.best_test_accuracy, row.best_epoch) == (0.9, 2)
    assert (row.updates, row.samples, row.epochs) == (300, 3000, 3)
    assert row.elapsed_seconds == pytest.approx(6.0)
    assert row.forward_seconds == pytest.approx(1.5)
    assert row.test_seconds == pytest.approx(3.0)
    assert math.isnan(row.final_test_top5_accuracy)


def test_of_equal_best_epochs_the_first_counts(tmp_path: Path) -> None:
    write_run(tmp_path, accuracies=(0.5, 0.9, 0.9))
    assert analysis.load(tmp_path).runs.best_epoch.iloc[0] == 2


@pytest.mark.parametrize(("state", "cause"), [("failed", "NonFiniteLoss: loss is nan"), ("preempted", "SIGTERM")])
def test_a_run_that_did_not_finish_has_a_state_a_cause_and_no_final_number(
    tmp_path: Path, state: str, cause: str
) -> None:
    write_run(tmp_path, state=state, cause=cause)
    data = analysis.load(tmp_path)
    row = data.runs.iloc[0]
    assert (row.state, row.cause) == (state, cause)
    assert math.isnan(row.final_test_accuracy)
    assert row.elapsed_seconds == 20.0
    assert len(data.done) == 0
    assert list(data.unfinished.cause) == [cause]


def test_a_run_before_its_first_epoch_is_missing_running_or_lost(tmp_path: Path) -> None:
    waiting = write_run(tmp_path, "fixed", 0, accuracies=(), state="running")
    living = write_run(tmp_path, "fixed", 1, accuracies=(), state="running")
    silent = write_run(tmp_path, "fixed", 2, accuracies=(), state="running")
    (waiting / "epochs.csv").unlink()
    (living / "progress.json").write_text(json.dumps({"time": time.time(), "epoch": 1}))
    (silent / "progress.json").write_text(json.dumps({"time": time.time() - 3600, "epoch": 1}))
    runs = analysis.load(tmp_path).runs
    assert list(runs.state[[path.as_posix() for path in (waiting, living, silent)]]) == ["missing", "running", "lost"]
    assert re.search("no sign of life for 36.. s", runs.cause[silent.as_posix()])
    assert list(runs.epochs) == [0, 0, 0]


@pytest.mark.parametrize(
    ("file", "content", "cause"),
    [
        ("epochs.csv", "epoch,updates\n1,2\n", "epochs.csv lacks the columns samples"),
        ("epochs.csv", "", "epochs.csv cannot be read"),
        ("epochs.csv", 'epoch,"updates\n1', "epochs.csv"),
        ("config.yaml", "a: [", "config.yaml cannot be read"),
        ("config.yaml", "- a\n", "config.yaml holds no mapping"),
        ("meta.json", "{", "meta.json cannot be read"),
        ("summary.json", "[]", "summary.json holds no mapping"),
    ],
)
def test_a_damaged_file_is_a_cause(tmp_path: Path, file: str, content: str, cause: str) -> None:
    path = write_run(tmp_path, "fixed", 3)
    (path / file).write_text(content)
    write_run(tmp_path, "fixed", 1)
    runs = analysis.load(tmp_path).runs
    assert list(runs.damage.isna()) == [run != path.as_posix() for run in runs.index]
    assert cause in runs.damage[path.as_posix()]
    assert runs.cause[path.as_posix()] == f"damaged: {runs.damage[path.as_posix()]}"
    assert runs.seed[path.as_posix()] == 3
    assert math.isnan(runs.final_test_accuracy[path.as_posix()])


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (path / "epochs.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in analysis.load(tmp_path).runs.damage.iloc[0]


@pytest.mark.parametrize(
    ("file", "old", "new", "cause"),
    [
        ("config.yaml", "seed: 0", "seed: abc", "seed is abc; it must be a whole number"),
        ("config.yaml", "seed: 0", "seed: 1.5", "seed is 1.5"),
        ("config.yaml", "seed: 0", "seed: 2026-13-45", "config.yaml cannot be read"),
        (
            "config.yaml",
            "network:\n  name: tiny_cnn\n  path: null\n  args: {}",
            "network: tiny_cnn",
            "network is tiny_cnn; it must be a mapping",
        ),
        ("meta.json", '"launch": {', '"launch": "no", "other": {', "launch is 'no'; it must be a mapping"),
        ("meta.json", '"swept": {}', '"swept": [1]', "launch.swept is [1]; it must be a mapping"),
        ("meta.json", '"arm": "fixed"', '"arm": ["fixed"]', r"arm is ['fixed']; it must be text"),
        ("meta.json", '"arm": "fixed"', '"arm": 5', "arm is 5; it must be text"),
        ("meta.json", '"torch": "', '"segments": 5, "torch": "', "segments is 5; it must be a list"),
        ("meta.json", '"swept": {}', '"swept": {}, "earlier": true', "launch.earlier is True; it must be a list"),
        ("meta.json", '"torch": "', '"restarts": 1' + 30 * "0" + ', "torch": "', "it must be a single value that fits"),
        ("config.yaml", "seed: 0", "seed: 1" + 30 * "0", "it must be a whole number"),
        ("meta.json", '"swept": {}', '"swept": ' + "[" * 100_000, "meta.json cannot be read"),
        ("epochs.csv", ",0.9,", ",90.0,", "test_accuracy that is no fraction"),
        ("epochs.csv", ",0.9,", ",,", "lacks a value of test_accuracy"),
        ("epochs.csv", "2,200,2000", "2,200,1000", "samples does not rise"),
        ("epochs.csv", "2,200,2000", "2,100,2000", "updates does not rise"),
    ],
)
def test_values_that_cannot_be_are_damage(tmp_path: Path, file: str, old: str, new: str, cause: str) -> None:
    path = write_run(tmp_path, "fixed", 0)
    content = (path / file).read_text()
    assert old in content
    (path / file).write_text(content.replace(old, new))
    write_run(tmp_path, "fixed", 1)
    runs = analysis.load(tmp_path).runs
    assert list(runs.damage.isna()) == [run != path.as_posix() for run in runs.index]
    assert cause in runs.damage[path.as_posix()]


def test_a_growth_that_is_no_number_is_damage_where_it_names_the_arm(tmp_path: Path) -> None:
    write_run(tmp_path, launch={"arm": None}, changes={"schedule.batch_growth": "2"})
    write_run(tmp_path, seed=1)
    runs = analysis.load(tmp_path).runs
    assert list(runs.damage.isna()) == [False, True]
    assert "schedule.batch_growth is '2'; it must be a number" in runs.damage.iloc[0]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *(("config.yaml", key) for key in ("seed", "num_epochs", "batch_norm", "schedule", "dataset", "network")),
    *(("config.yaml", f"schedule.{key}") for key in ("kind", "batch_size", "batch_growth", "shape", "warmup_epochs")),
    *(("config.yaml", f"{group}.name") for group in ("dataset", "network")),
    *(("meta.json", key) for key in ("launch", "segments", "git_sha", "world_size", "started_at", "source", "trainer")),
    *(("meta.json", f"launch.{key}") for key in ("sweep", "cell", "arm", "baseline", "swept", "code", "lint_allowed")),
    *(("meta.json", f"launch.{key}") for key in ("forecast", "earlier", "concurrent_runs")),
    *(("summary.json", key) for key in ("state", "cause", "wall_seconds")),
    ("progress.json", "time"),
]


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(PLACES),
    value=ANY_JSON,
    state=st.sampled_from(["done", "failed", "preempted", "running"]),
    named=st.booleans(),
)
def test_whatever_a_file_holds_the_sweep_is_read(
    tmp_path: Path, place: tuple[str, str], value: object, state: str, named: bool
) -> None:
    """The other run is as it was; this one has a state, and a cause where it is damaged."""
    shutil.rmtree(tmp_path)
    path = write_run(tmp_path, state=state, cause="a cause", launch={} if named else {"arm": None})
    write_run(tmp_path, seed=1)
    file, key = path / place[0], place[1].split(".")
    content = yaml.safe_load(file.read_text()) if file.exists() else {}
    group = content if len(key) == 1 else content[key[0]]
    group[key[-1]] = value
    file.write_text(json.dumps(content))
    runs = analysis.load(tmp_path).runs
    assert runs.state.iloc[1] == "done"
    assert runs.damage.isna().iloc[1]
    assert runs.state.iloc[0] in set(State)


def test_a_config_key_of_another_trainer_shadows_no_result(tmp_path: Path) -> None:
    write_run(tmp_path, changes={"epochs": 7, "state": "perfect"})
    row = analysis.load(tmp_path).runs.iloc[0]
    assert (row.epochs, row.state) == (2, "done")


@pytest.mark.parametrize("state", ["failed", "preempted"])
def test_a_run_that_goes_on_after_its_end_is_running(tmp_path: Path, state: str) -> None:
    path = write_run(tmp_path, state=state, cause="DiskFull: no space")
    (path / "progress.json").write_text(json.dumps({"time": time.time() + 1, "epoch": 2}))
    assert analysis.load(tmp_path).runs.state.tolist() == ["running"]


def test_a_run_that_was_made_by_two_machines_is_of_neither(tmp_path: Path) -> None:
    segments = [{"device_model": "P100"}, {"device_model": "H100"}]
    write_run(tmp_path, meta={"segments": segments, "device_model": "H100"})
    assert analysis.load(tmp_path).runs.device_model.tolist() == ["P100, then H100"]


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (lambda lines: [*lines, lines[-1]], "counts the epochs"),
        (lambda lines: [lines[0], lines[2]], "counts the epochs"),
        (lambda lines: [*lines[:2], lines[2].replace("0.9", "much", 1)], "no number"),
        (lambda lines: lines[:2], "holds 1 of 2 epochs although the run is done"),
    ],
    ids=["doubled", "missing", "no number", "too few"],
)
def test_rows_that_cannot_be_right_are_damage(tmp_path: Path, edit, cause: str) -> None:
    path = write_run(tmp_path) / "epochs.csv"
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    row = analysis.load(tmp_path).runs.iloc[0]
    assert cause in row.damage
    assert math.isnan(row.final_test_accuracy)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = write_run(tmp_path, state="running") / "epochs.csv"
    path.write_text(path.read_text() + "3,300,30")
    assert list(analysis.load(tmp_path).epochs.epoch) == [1, 2]


def test_several_folders_are_read_together_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "one", "fixed", 0)
    write_run(tmp_path / "two", "adaptive", 0)
    data = analysis.load(tmp_path / "one", tmp_path / "two", tmp_path / "two" / "digits-tiny_cnn")
    assert sorted(data.runs.arm) == ["adaptive", "fixed"]
    monkeypatch.chdir(tmp_path)
    assert len(analysis.load("one", tmp_path / "one").runs) == 1


def test_a_folder_without_runs_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere does not exist; it must be"):
        analysis.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"holds no run"):
        analysis.load(tmp_path)


def test_a_collector_sees_what_changed(tmp_path: Path) -> None:
    path = write_run(tmp_path, "fixed", 0, state="running")
    collector = Collector(tmp_path)
    assert collector.load().runs.state.tolist() == ["lost"]
    (path / "DONE").write_text("done\n")
    write_run(tmp_path, "fixed", 1)
    assert collector.load().runs.state.tolist() == ["done", "done"]


def test_select_narrows_both_frames(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "adaptive", 0)
    chosen = analysis.load(tmp_path).select(arm="adaptive")
    assert set(chosen.runs.arm) == set(chosen.epochs.arm) == {"adaptive"}
    assert "1 run (1 done)" in chosen._repr_html_()


@pytest.mark.slow
def test_analysis_needs_no_torch() -> None:
    code = "import sys, analysis, analysis.cli, analysis.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
