"""Run directories of 0.1.0, kept as they were written, load, resume and stand in tables; so they do after changes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import analysis
from adabatch.config import load_config, matches_hash
from adabatch.files import SOURCE_DIR
from adabatch.run import default_run_dir, resume_run, run_config
from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir, find_runs
from adabatch.rundir.meta import read_meta
from adabatch.rundir.state import read_state
from adabatch.rundir.states import State
from analysis.wandb_run import Origin, Unusable, epoch_rows, read_trained, write_run

OLD = Path(__file__).parent / "fixtures" / "v0_1_0"
#: A column as somebody would add it: one line.
NEW_COLUMN = '    energy_joules: float | None = column("of the epoch", since="0.9.0", default=None)\n'
LAST_COLUMN = "    save_seconds: float = _seconds("


@pytest.fixture
def stopped(tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(OLD / "stopped", tmp_path / "stopped"))


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_columns(rows: list[dict[str, str]], columns: Iterable[str]) -> list[dict[str, str]]:
    """Return rows in the columns of an older file: newer ones do not matter to it."""
    return [{name: row[name] for name in columns} for row in rows]


@pytest.mark.parametrize("path", sorted(OLD.rglob("config.yaml")), ids=lambda path: path.parent.name)
def test_configs_have_the_hash_that_they_were_given(path: Path) -> None:
    recorded = read_meta(RunDir(path.parent)).config_hash
    assert recorded is not None
    assert "-" not in recorded
    assert matches_hash(load_config(path), recorded) is True


@pytest.mark.slow
def test_a_stopped_run_resumes_and_ends_as_the_undisturbed_one_did(stopped: RunDir) -> None:
    assert resume_run(stopped.path) == 0
    whole = read_rows(OLD / "whole" / "epochs.csv")
    columns = [name for name in whole[0] if not name.endswith("_seconds")]
    assert in_columns(read_rows(stopped.epochs), columns) == in_columns(whole, columns)
    assert str(read_meta(stopped).config_hash).startswith("2-")
    assert read_meta(stopped).restarts == 1


def test_states_are_read(tmp_path: Path, stopped: RunDir) -> None:
    (found,) = map(read_state, collect_evidence([stopped.path]))
    assert (found.state, found.cause, found.epoch, found.num_epochs) == (
        State.PREEMPTED, "stopped by SIGTERM after saving a checkpoint", 2, 8,
    )  # fmt: skip
    runs = find_runs(OLD / "sweep")
    assert {read_state(one).state for one in collect_evidence(runs)} == {State.DONE}


def test_a_sweep_stands_in_tables() -> None:
    comparison = analysis.compare(analysis.load(OLD / "sweep"))
    assert comparison.data.runs.damage.isna().all()
    assert len(comparison.matching.refused) == 0
    assert len(comparison.matching.pairs) == 2
    [updates] = comparison.speedup.query("quantity == 'updates'").value
    # 64 samples: 3 epochs of 8 updates against 8 + 4 + 2
    assert updates == pytest.approx(24 / 14)


def test_an_edited_config_is_damage_and_an_unknown_rule_is_a_mark(tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(OLD / "sweep", tmp_path / "sweep"))
    edited, unknown = sorted(find_runs(sweep))[:2]
    config = (edited / "config.yaml").read_text()
    (edited / "config.yaml").write_text(config.replace("weight_decay: 0.0005", "weight_decay: 0.5"))
    meta = json.loads((unknown / "meta.json").read_text())
    (unknown / "meta.json").write_text(json.dumps({**meta, "config_hash": "9-0123456789ab"}))
    comparison = analysis.compare(analysis.load(sweep))
    damage = comparison.data.runs.damage
    assert "was changed: it does not have the config hash" in damage[edited.as_posix()]
    assert damage.drop(edited.as_posix()).isna().all()
    assert list(comparison.matching.pairs.run) == [unknown.as_posix()]
    [marks] = comparison.matching.marks.values()
    assert any("9-0123456789ab is by a rule that this version does not know" in mark for mark in marks)


def test_a_run_in_wandb_becomes_a_run_directory(tmp_path: Path) -> None:
    held = json.loads((OLD / "tracked" / "wandb.json").read_text())
    trained = read_trained(held["config"])
    origin = Origin("id", "name", None, "project", None, "finished", {"rows": 3})
    write_run(tmp_path, origin, trained, held["history"], held["summary"])
    original = read_rows(OLD / "tracked" / "epochs.csv")
    assert in_columns(read_rows(RunDir(tmp_path).epochs), original[0]) == original
    assert analysis.load(tmp_path).runs.state.tolist() == ["done"]


@pytest.mark.slow
def test_a_run_that_was_begun_in_its_default_folder_is_found_there(
    stopped: RunDir, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(stopped.config)
    config.run_dir = None
    folder = tmp_path / "runs/single/synthetic-tiny_cnn" / "stepwise_8-seed_0-6ea10f83"  # 0.1.0's name for it
    shutil.copytree(stopped.path, folder)
    assert default_run_dir(config).resolve() == folder
    assert run_config(config) == 0
    config.seed = 1
    assert default_run_dir(config).name.startswith("stepwise_8-seed_1-")


@pytest.mark.slow
def test_a_new_column_is_one_line_and_older_files_still_load(stopped: RunDir, tmp_path: Path) -> None:
    """In a copy of the packages with one line more: resume, frames and wandb, all on files of 0.1.0."""
    for package in ("adabatch", "analysis", "launch", "conf"):
        shutil.copytree(SOURCE_DIR / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    columns = tmp_path / "adabatch" / "rundir" / "columns.py"
    text = columns.read_text()
    assert text.count(LAST_COLUMN) == 1
    end = text.index("\n", text.index(LAST_COLUMN)) + 1
    columns.write_text(text[:end] + NEW_COLUMN + text[end:])
    code = f"""
import json, math, analysis
from adabatch.run import resume_run
from analysis.wandb_run import epoch_rows
runs = analysis.load({str(OLD / "sweep")!r})
assert runs.epochs.energy_joules.isna().all() and (runs.runs.state == "done").all() and runs.runs.damage.isna().all()
assert resume_run({str(stopped.path)!r}) == 0
assert "energy_joules" in analysis.load({str(stopped.path)!r}).epochs.columns
history = json.loads(open({str(OLD / "tracked" / "wandb.json")!r}).read())["history"]
assert [row.energy_joules for row in epoch_rows(history)] == [None] * 3
import adabatch; print(adabatch.__file__)
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip().splitlines()[-1] == str(tmp_path / "adabatch" / "__init__.py")
    assert read_rows(stopped.epochs)[-1]["energy_joules"] == ""


def test_history_of_a_version_without_a_required_column_is_refused() -> None:
    held = json.loads((OLD / "tracked" / "wandb.json").read_text())["history"]
    with pytest.raises(Unusable, match="updates"):
        epoch_rows([{key: value for key, value in row.items() if key != "updates"} for row in held])
