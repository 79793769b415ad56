"""The cache of a folder: it changes how long a load takes, and nothing else."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from adabatch.rundir.columns import COLUMNS
from analysis import Data, load_cache
from tests.analysis.runs import write_run

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")

CACHE = Path(".analysis", "load.parquet")


@pytest.fixture(autouse=True)
def few_runs_have_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_cache, "FEWEST_RUNS", 1)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three sound runs whose files are old enough to be trusted."""
    folder = tmp_path / "sweep"
    for seed in range(3):
        write_run(folder, "fixed", seed, accuracies=(0.5, 0.9 - seed / 100))
    return aged(folder)


def aged(folder: Path) -> Path:
    """Make all files of a folder an hour old."""
    an_hour_ago = time.time() - 3600
    for file in folder.rglob("*"):
        os.utime(file, (an_hour_ago, an_hour_ago))
    return folder


def replace_unnoticed(file: Path, old: str, new: str) -> None:
    """Change a file but neither its size nor its time of change: only who reads it again sees the change."""
    before, text = file.stat(), file.read_text()
    assert old in text
    assert len(old) == len(new)
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def final_accuracies(folder: Path) -> list[float]:
    values: list[float] = analysis.load(folder).runs.final_test_accuracy.tolist()
    return values


def assert_equal(data: Data, other: Data) -> None:
    pd.testing.assert_frame_equal(data.runs, other.runs, check_exact=True)
    pd.testing.assert_frame_equal(data.epochs, other.epochs, check_exact=True)


def run(folder: Path, seed: int) -> Path:
    return folder / "digits-tiny_cnn" / "fixed" / f"seed_{seed}"


def without_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    with monkeypatch.context() as patch:
        patch.setattr(load_cache, "FEWEST_RUNS", 1000)
        return analysis.load(folder)


def write_all_kinds(folder: Path) -> None:
    """Write runs of every kind: sound ones, unfinished ones, imported ones, damaged ones."""
    write_run(folder, "fixed", 0, changes={"max_micro_batch_size": 64}, meta={"world_size": 2})
    write_run(folder, "adaptive", 0, batches=(10, 20), meta={"segments": [{"host": "a"}, {"host": "b"}]})
    write_run(folder, "fixed", 1, state="failed", cause="NonFiniteLoss: loss is nan")
    write_run(folder, "fixed", 2, state="preempted", cause="SIGTERM")
    write_run(folder, "fixed", 3, accuracies=(), state="running")
    write_run(folder, "fixed", 4, accuracies=(0.5,), meta={"source": "foreign", "results_only": True})
    write_run(folder, "fixed", 5, launch={"arm": None}, meta={"git_dirty": None, "num_threads": 3})
    write_run(folder, "fixed", 6, changes={"tracker.project": "2026-11-26", "optimizer.momentum": 1})
    date = run(folder, 6) / "config.yaml"
    date.write_text(date.read_text().replace("'2026-11-26'", "2026-11-26"))
    blank = run(folder, 5) / "epochs.csv"
    blank.write_text(blank.read_text().replace(",0\n", ",\n"))
    with_others = run(folder, 2) / "epochs.csv"
    lines = with_others.read_text().splitlines()
    with_others.write_text("".join(f"{line},{word}\n" for line, word in zip(lines, ("mine", "a", "b"), strict=True)))
    for seed, name, content in ((7, "epochs.csv", "epoch\n1\n"), (8, "config.yaml", "a: ["), (9, "meta.json", "[]")):
        (write_run(folder, "fixed", seed) / name).write_text(content)


def test_frames_are_equal_with_and_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all_kinds(tmp_path)
    aged(tmp_path)
    expected = without_cache(tmp_path, monkeypatch)
    assert not (tmp_path / CACHE).exists()
    assert_equal(analysis.load(tmp_path), expected)
    assert (tmp_path / CACHE).exists()
    assert_equal(analysis.load(tmp_path), expected)
    assert set(expected.runs.state) == {"done", "failed", "preempted", "lost"}
    assert expected.runs.damage.notna().sum() == 3


def test_the_second_load_reads_no_file_that_is_as_it_was(sweep: Path) -> None:
    assert final_accuracies(sweep) == [0.9, 0.89, 0.88]
    replace_unnoticed(run(sweep, 1) / "epochs.csv", "0.89", "0.11")
    assert final_accuracies(sweep) == [0.9, 0.89, 0.88]
    shutil.rmtree(sweep / CACHE.parent)
    assert final_accuracies(sweep) == [0.9, 0.11, 0.88]


@pytest.mark.parametrize("name", ["config.yaml", "meta.json", "epochs.csv", "summary.json", "DONE"])
def test_a_run_is_read_again_when_any_of_its_files_changes_and_the_others_are_not(sweep: Path, name: str) -> None:
    analysis.load(sweep)
    for seed, text in enumerate(("0.90", "0.89", "0.88")):
        replace_unnoticed(run(sweep, seed) / "epochs.csv", text.rstrip("0"), "0.1" if text == "0.90" else "0.11")
    with open(run(sweep, 1) / name, "a") as file:
        file.write("\n" if name != "epochs.csv" else "3")  # a line that is being written counts for nothing
    assert final_accuracies(sweep) == [0.9, 0.11, 0.88]


def test_what_changed_at_last_is_in_the_cache_of_the_next_load(sweep: Path) -> None:
    analysis.load(sweep)
    (run(sweep, 1) / "DONE").write_text("again\n")
    replace_unnoticed(run(sweep, 1) / "epochs.csv", "0.89", "0.11")
    aged(run(sweep, 1))
    assert final_accuracies(sweep) == [0.9, 0.11, 0.88]
    replace_unnoticed(run(sweep, 1) / "epochs.csv", "0.11", "0.12")
    assert final_accuracies(sweep) == [0.9, 0.11, 0.88]


def test_runs_come_and_go(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.load(sweep)
    shutil.rmtree(run(sweep, 0))
    write_run(sweep, "adaptive", 0)
    assert_equal(analysis.load(sweep), without_cache(sweep, monkeypatch))
    shutil.rmtree(run(sweep, 1))
    shutil.rmtree(run(sweep, 2))
    assert_equal(analysis.load(sweep), without_cache(sweep, monkeypatch))
    assert len(analysis.load(sweep).runs) == 1


def test_a_run_that_changed_just_before_it_was_read_is_read_again(sweep: Path) -> None:
    os.utime(run(sweep, 1) / "epochs.csv")
    analysis.load(sweep)
    for seed, (old, new) in enumerate((("0.9", "0.1"), ("0.89", "0.11"))):
        replace_unnoticed(run(sweep, seed) / "epochs.csv", old, new)
    assert final_accuracies(sweep) == [0.9, 0.11, 0.88]


def test_the_state_of_an_unfinished_run_is_read_anew(tmp_path: Path) -> None:
    path = write_run(tmp_path, state="running")
    (path / "progress.json").write_text(json.dumps({"time": time.time() - 3600, "epoch": 2}))
    aged(tmp_path)
    assert analysis.load(tmp_path).runs.state.tolist() == ["lost"]
    replace_unnoticed(path / "epochs.csv", "0.9", "0.8")
    (path / "progress.json").write_text(json.dumps({"time": time.time(), "epoch": 2}))
    data = analysis.load(tmp_path)
    assert data.runs.state.tolist() == ["running"]
    assert data.epochs.test_accuracy.tolist() == [0.5, 0.9]
    (path / "DONE").write_text("done\n")
    assert analysis.load(tmp_path).runs.state.tolist() == ["done"]


def test_a_damaged_run_is_read_again_each_time(sweep: Path) -> None:
    file = run(sweep, 1) / "epochs.csv"
    replace_unnoticed(file, "0.89", "8.90")
    assert "no fraction" in analysis.load(sweep).runs.damage.iloc[1]
    replace_unnoticed(file, "8.90", "0.89")
    assert final_accuracies(sweep) == [0.9, 0.89, 0.88]


def _flip_a_byte(cache: Path) -> None:
    content = bytearray(cache.read_bytes())
    content[len(content) // 4] ^= 1
    cache.write_bytes(content)


def _write(cache: Path, table: Any) -> None:
    pq.write_table(table, cache)


def _with_column(cache: Path, name: str, change: Callable[[list[Any]], list[Any]]) -> None:
    table = pq.read_table(cache)
    place = table.column_names.index(name)
    changed = pa.array(change(table[name].to_pylist()), type=table.schema.field(name).type)
    _write(cache, table.set_column(place, table.schema.field(name), changed))


def _with_values(cache: Path, **changes: Any) -> None:
    _with_column(cache, "values", lambda rows: [json.dumps(json.loads(row) | changes) for row in rows])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda cache: cache.write_bytes(b""),
    "no parquet": lambda cache: cache.write_text("epoch,updates\n"),
    "cut off": lambda cache: cache.write_bytes(cache.read_bytes()[:-100]),
    "a flipped bit": _flip_a_byte,
    "other columns": lambda cache: _write(cache, pa.table({"run": ["a"]})),
    "fewer columns": lambda cache: _write(cache, pq.read_table(cache).drop_columns(["test_accuracy"])),
    "another version": lambda cache: _write(
        cache, pq.read_table(cache).replace_schema_metadata({"adabatch_rules": "0.0.1"})
    ),
    "no version": lambda cache: _write(cache, pq.read_table(cache).replace_schema_metadata(None)),
    "a run twice": lambda cache: _write(cache, pa.concat_tables([pq.read_table(cache)] * 2)),
    "nothing instead of a run": lambda cache: _with_column(cache, "values", lambda rows: [None, *rows[1:]]),
    "no JSON": lambda cache: _with_column(cache, "values", lambda rows: ["{", *rows[1:]]),
    "JSON that closes its list": lambda cache: _with_column(cache, "values", lambda rows: ["{}, {}", *rows[1:]]),
    "other values": lambda cache: _with_column(cache, "values", lambda rows: ["{}" for _ in rows]),
    "a list for a number": lambda cache: _with_values(cache, num_threads=[1]),
    "text for a seed": lambda cache: _with_values(cache, seed="0"),
    "a number for an arm": lambda cache: _with_values(cache, arm=1),
    "half a character": lambda cache: _with_values(cache, arm="\ud800"),
    "a number that is too large": lambda cache: _with_values(cache, seed=2**64),
    "a column of the results": lambda cache: _with_values(cache, epochs=3),
    "an accuracy of 2": lambda cache: _with_column(cache, "test_accuracy", lambda rows: [[0.5, 2.0] for _ in rows]),
    "a blank epoch": lambda cache: _with_column(cache, "epoch", lambda rows: [[1.0, None] for _ in rows]),
    "an epoch too few": lambda cache: _with_column(cache, "epoch", lambda rows: [[1.0] for _ in rows]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_cache_that_cannot_be_used_is_ignored_and_written_anew(
    sweep: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = analysis.load(sweep)
    DAMAGE[damage](sweep / CACHE)
    assert_equal(analysis.load(sweep), expected)
    replace_unnoticed(run(sweep, 1) / "epochs.csv", "0.89", "0.11")
    assert_equal(analysis.load(sweep), expected)  # from the cache, which is whole again


def test_a_cache_cannot_name_a_run_that_is_not_there(sweep: Path) -> None:
    expected = analysis.load(sweep)
    _with_column(sweep / CACHE, "run", lambda names: ["../elsewhere", "/etc", names[2]])
    _with_values(sweep / CACHE, run="/etc")
    data = analysis.load(sweep)
    assert_equal(data, expected)
    assert data.runs.index.tolist() == [run(sweep, seed).as_posix() for seed in range(3)]


def test_a_cache_goes_with_its_folder(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.load(sweep)
    moved = sweep.rename(sweep.with_name("moved"))
    replace_unnoticed(run(moved, 1) / "epochs.csv", "0.89", "0.11")
    assert final_accuracies(moved) == [0.9, 0.89, 0.88]
    monkeypatch.chdir(moved)
    data = analysis.load(".")
    assert data.runs.final_test_accuracy.tolist() == [0.9, 0.89, 0.88]
    assert data.runs.index[0] == "digits-tiny_cnn/fixed/seed_0"


def test_folders_that_are_loaded_together_have_a_cache_each(sweep: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_run(other, "adaptive", 0)
    aged(other)
    expected = analysis.load(sweep, other)
    assert (sweep / CACHE).exists()
    assert (other / CACHE).exists()
    assert_equal(analysis.load(sweep, other), expected)


def test_a_collector_sees_what_changes_after_it_has_read_the_cache(sweep: Path) -> None:
    analysis.load(sweep)
    collector = analysis.Collector(sweep)
    assert collector.load().runs.final_test_accuracy.tolist() == [0.9, 0.89, 0.88]
    file = run(sweep, 1) / "epochs.csv"
    file.write_text(file.read_text().replace("0.89", "0.777"))
    assert collector.load().runs.final_test_accuracy.tolist() == [0.9, 0.777, 0.88]


@pytest.mark.slow
def test_without_pyarrow_there_is_none(sweep: Path) -> None:
    code = """
import sys
sys.modules["pyarrow"] = None  # as if it were not installed
import analysis
from analysis import load_cache
load_cache.FEWEST_RUNS = 1
print(analysis.load(sys.argv[1]).runs.final_test_accuracy.tolist())
"""
    done = subprocess.run([sys.executable, "-c", code, sweep], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "[0.9, 0.89, 0.88]\n"
    assert not (sweep / CACHE.parent).exists()


def test_few_runs_have_none(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    analysis.load(sweep)
    assert not (sweep / CACHE.parent).exists()


def test_where_it_cannot_be_written_there_is_none(sweep: Path) -> None:
    (sweep / CACHE.parent).write_text("a file of this name")
    assert final_accuracies(sweep) == [0.9, 0.89, 0.88]
    assert (sweep / CACHE.parent).read_text() == "a file of this name"


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Let no file become larger than that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_a_cache(sweep: Path) -> None:
    with full_disk(1000):
        assert final_accuracies(sweep) == [0.9, 0.89, 0.88]
    assert list((sweep / CACHE.parent).iterdir()) == []


def test_a_link_is_not_followed_when_it_is_written(sweep: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (sweep / CACHE.parent).symlink_to(elsewhere)
    assert final_accuracies(sweep) == [0.9, 0.89, 0.88]
    assert list(elsewhere.iterdir()) == []


def test_the_cache_holds_numbers_and_text_only(sweep: Path) -> None:
    analysis.load(sweep)
    schema = pq.read_schema(sweep / CACHE)
    assert schema.names == ["run", "signature", "values", *COLUMNS]
    assert {str(kind) for kind in schema.types} == {"string", "list<element: double>"}


@pytest.mark.slow
def test_several_processes_may_load_a_folder_at_the_same_time(tmp_path: Path) -> None:
    for seed in range(100):
        write_run(tmp_path, "fixed", seed, accuracies=[0.5] * 20)
    aged(tmp_path)
    code = "import sys, analysis\nfor _ in range(3): print(len(analysis.load(sys.argv[1]).epochs))"
    children = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [child.communicate()[0] for child in children] == ["2000\n2000\n2000\n"] * 3
    assert list((tmp_path / CACHE.parent).iterdir()) == [tmp_path / CACHE]
    assert pq.ParquetFile(tmp_path / CACHE, page_checksum_verification=True).read().num_rows == 100
