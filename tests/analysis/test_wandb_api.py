"""The real wandb client reads runs from a fake of its server; what it gives us becomes run directories."""

import copy
import json
import math
import sys
import time

import pandas as pd
import pytest
import wandb

import analysis
from adabatch.config import load_config, to_dict
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import update_meta
from analysis.cli import main
from analysis.wandb_api import fetch_wandb
from tests.adabatch.support import TINY, read_rows, read_summary
from tests.analysis.fake_wandb_server import ENTITY, PROJECT, FakeRun, FakeWandbServer

pytestmark = pytest.mark.slow

LAUNCH = {"sweep": "demo", "cell": "synthetic-tiny_cnn", "arm": "adaptive", "baseline": "fixed", "swept": {}}
WHERE = f"{ENTITY}/{PROJECT}"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of the real trainer, as a run of a sweep."""
    run_dir = RunDir(tmp_path_factory.mktemp("original") / "run")
    run_dir.path.mkdir()
    update_meta(run_dir, launch=LAUNCH)
    assert run_config(compose([*TINY, f"run_dir={run_dir.path}"])) == 0
    return run_dir


@pytest.fixture
def server():
    """The fake; asking it for something that it does not know fails the test."""
    serving = FakeWandbServer([])
    yield serving
    serving.close()
    assert serving.unknown == []


@pytest.fixture(autouse=True)
def client(monkeypatch, tmp_path, server):
    """A wandb client that remembers nothing of other tests."""
    wandb.teardown()
    for name, value in {
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "0" * 40,
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
        "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "WANDB_DIR": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
    }.items():
        monkeypatch.setenv(name, value)
    yield
    wandb.teardown()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def fetch(tmp_path, reports):
    """Return a function that fetches the project into ``tmp_path / "fetched"``."""
    return lambda: fetch_wandb(WHERE, tmp_path / "fetched", report=reports.append)


def mirrored(run_dir, name="first", seed=0, **changes):
    """Return a run as the server has it after the tracker told it everything."""
    config = {**to_dict(load_config(run_dir.config)), "seed": seed, "adabatch": json.loads(run_dir.meta.read_text())}
    rows = [
        {"_step": int(row["epoch"]), "decisions": [[0, 0, 8, 0.01]]} | {key: _value(text) for key, text in row.items()}
        for row in read_rows(run_dir)
    ]
    summary = {"_step": len(rows), "_runtime": 1.5, **rows[-1], **read_summary(run_dir)}
    values = {"config": config, "rows": rows, "summary": summary, "display_name": f"seed_{seed}"}
    return FakeRun(name, **{key: _through_json(value) for key, value in values.items()}, **changes)


def _value(text):
    return None if text == "" else int(text) if text.isdigit() else float(text)


def _through_json(value):
    """Return a value as it leaves wandb: numbers without a fraction are whole, others than finite are words."""
    if isinstance(value, dict):
        return {key: _through_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_through_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without_launch(run):
    """Return a run that was started by hand, not by a sweep."""
    own = copy.deepcopy(run)
    del own.config["adabatch"]["launch"]
    return own


def test_a_fetched_run_is_the_directory_that_it_was(server, fetch, original, tmp_path, reports):
    server.runs = [mirrored(original)]
    (path,) = fetch()
    fetched = RunDir(path)
    assert path == tmp_path / "fetched/demo/synthetic-tiny_cnn/adaptive/seed_0"
    assert fetched.epochs.read_text() == original.epochs.read_text()
    assert fetched.config.read_text() == original.config.read_text()
    assert read_summary(fetched) == read_summary(original)
    assert fetched.done.exists()
    meta = json.loads(fetched.meta.read_text())
    assert meta["source"] == "wandb"
    known = {"id": "first", "entity": ENTITY, "project": PROJECT, "state": "finished"}
    assert known.items() <= meta["wandb"].items()
    assert meta["wandb"]["url"] == f"{server.url}/{WHERE}/runs/first"
    assert json.loads(original.meta.read_text()).items() <= meta.items()
    assert reports == []


def test_frames_do_not_tell_whether_they_come_from_wandb_or_from_csv(server, fetch, original):
    server.runs = [mirrored(original)]
    (path,) = fetch()
    ours, theirs = analysis.load(original.path), analysis.load(path)
    own = ["run", "source"]
    one, other = (data.runs.drop(columns=own, errors="ignore").reset_index(drop=True) for data in (ours, theirs))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    one, other = (data.epochs.drop(columns="run") for data in (ours, theirs))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_totals_survive_that_the_last_row_hides_them(server, fetch, original):
    run = mirrored(original)
    run.summary |= run.rows[-1]
    server.runs = [run]
    (path,) = fetch()
    summary, truth = read_summary(RunDir(path)), read_summary(original)
    hidden = [f"{span}_seconds" for span in ("data", "forward", "backward", "update", "growth", "test", "train")]
    assert {key: summary[key] for key in hidden} == pytest.approx({key: truth[key] for key in hidden})
    exact = summary.keys() - {*hidden, "save_seconds", "elapsed_seconds"}
    assert {key: summary[key] for key in exact} == {key: truth[key] for key in exact}


def test_all_pages_of_runs_are_read_in_few_requests(server, fetch, original):
    server.page_size = 2
    server.runs = [mirrored(original, f"run{seed}", seed) for seed in range(5)]
    paths = fetch()
    assert [path.name for path in paths] == [f"seed_{seed}" for seed in range(5)]
    assert server.requests["Runs"] == 3
    assert server.requests["HistoryPage"] == 5


def test_a_run_that_moved_to_the_next_page_is_read_once(server, fetch, original):
    server.runs = [mirrored(original)] * 3
    server.page_size = 2
    assert len(fetch()) == 1


def test_long_histories_are_read_whole_and_each_epoch_once(server, fetch, original):
    run = mirrored(original)
    row = run.rows[0]
    run.rows = [{**row, "_step": epoch, "epoch": epoch, "test_loss": epoch / 7} for epoch in range(1, 1201)]
    run.rows.insert(600, dict(run.rows[600]))
    run.config["num_epochs"] = 1200
    run.summary = {"state": "done", "cause": None}
    server.runs = [run]
    (path,) = fetch()
    rows = read_rows(RunDir(path))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 1201))
    assert [float(row["test_loss"]) for row in rows] == [epoch / 7 for epoch in range(1, 1201)]
    assert server.requests["HistoryPage"] == 2
    assert RunDir(path).done.exists()


def test_words_for_numbers_become_numbers(server, fetch, original):
    run = mirrored(original, state="failed")
    run.rows[1] |= {"test_loss": "NaN", "train_loss": "Infinity", "learning_rate": 1}
    run.summary |= {"state": "failed", "cause": "NonFiniteLoss: the loss is NaN"}
    server.runs = [run]
    (path,) = fetch()
    second = analysis.load(path).epochs.iloc[1]
    assert math.isnan(second.test_loss)
    assert second.train_loss == math.inf
    assert read_rows(RunDir(path))[1]["learning_rate"] == "1.0"
    assert RunDir(path).failed.read_text().startswith("NonFiniteLoss: the loss is NaN\n")


def test_a_busy_server_is_asked_again(server, fetch, original):
    server.runs = [mirrored(original)]
    server.refusals = {"Runs": [429]}
    assert len(fetch()) == 1
    assert server.requests["Runs"] == 2


def test_repeating_asks_for_no_history_until_something_changed(server, fetch, original):
    server.runs = [mirrored(original, "a", 0), mirrored(original, "b", 1, state="running")]
    paths = fetch()
    before = {file: file.stat().st_mtime_ns for path in paths for file in path.iterdir()}
    server.requests.clear()
    assert fetch() == paths
    assert server.history_requests == 0
    assert {file: file.stat().st_mtime_ns for path in paths for file in path.iterdir()} == before
    server.runs[1].state = "finished"
    assert fetch() == paths
    assert server.requests["HistoryPage"] == 1


def test_an_interrupted_fetch_is_completed_by_repeating_it(server, fetch, original, tmp_path):
    server.runs = [mirrored(original, f"run{seed}", seed) for seed in range(4)]
    server.broken_runs = {"run2"}
    with pytest.raises(ConnectionError, match=r"wandb did not answer for team/study: .*not available.*Repeat the call"):
        fetch()
    complete = sorted(path.name for path in tmp_path.glob("fetched/*/*/*/*"))
    assert complete == ["seed_0", "seed_1"]
    server.broken_runs.clear()
    server.requests.clear()
    assert len(fetch()) == 4
    assert server.requests["HistoryPage"] == 2


@pytest.mark.parametrize("last_file", ["config", "summary"])
def test_a_fetch_killed_while_it_writes_is_completed_by_repeating_it(server, fetch, original, monkeypatch, last_file):
    server.runs = [mirrored(original)]
    replaced = {"config": "save_config", "summary": "write_epochs_csv"}[last_file]

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(f"analysis.wandb_run.{replaced}", die)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    (path,) = fetch()
    assert RunDir(path).epochs.read_text() == original.epochs.read_text()
    assert RunDir(path).done.exists()


@pytest.mark.parametrize("word", ["crashed", "killed", "failed"])
def test_a_run_that_ended_without_a_word_has_wandbs_as_its_cause(server, fetch, original, word):
    run = mirrored(original, state=word)
    run.rows = run.rows[:2]
    attempt_before = {} if word == "failed" else {"state": "preempted", "cause": "stopped by SIGTERM"}
    run.summary = {"_step": 2, **run.rows[-1], **attempt_before}
    server.runs = [run]
    (path,) = fetch()
    runs = analysis.load(path).runs
    assert (runs.state.item(), runs.cause.item()) == ("failed", f"wandb says: {word}")
    assert runs.epochs.item() == 2
    summary = read_summary(RunDir(path))
    assert summary["cause"] == f"wandb says: {word}"
    assert summary["train_seconds"] == pytest.approx(sum(row["train_seconds"] for row in run.rows))


def test_a_run_in_progress_is_neither_done_nor_failed(server, fetch, original):
    alive = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    now = mirrored(original, "now", 0, state="running", heartbeat_at=alive)
    long_ago = mirrored(original, "long_ago", 1, state="running")
    for run in (now, long_ago):
        run.rows = run.rows[:1]
        run.summary = {"state": "preempted", "cause": "stopped by SIGTERM after saving a checkpoint"}
    server.runs = [now, long_ago]
    states = [analysis.load(path).runs.state.item() for path in fetch()]
    assert states == ["running", "lost"]


def test_what_was_true_before_does_not_stay(server, fetch, original):
    run = mirrored(original, state="crashed")
    told, run.summary = run.summary, {}
    server.runs = [run]
    marks = ("DONE", "FAILED", "progress.json")
    seen = []
    for state, summary in (("crashed", {}), ("running", {}), ("finished", told)):
        run.state, run.summary = state, summary
        (path,) = fetch()
        seen.append([name for name in marks if (path / name).exists()])
    assert seen == [["FAILED"], ["progress.json"], ["DONE"]]


def test_a_done_run_of_which_wandb_lacks_epochs_is_not_done(server, fetch, original):
    run = mirrored(original)
    del run.rows[1]
    server.runs = [run]
    (path,) = fetch()
    assert not RunDir(path).done.exists()
    assert read_summary(RunDir(path))["cause"] == "wandb holds: 2 of 3 epochs of a run that is done"


def test_runs_that_cannot_be_used_are_named(server, fetch, original, reports):
    foreign = FakeRun("foreign", {"depth": 3}, [{"_step": 0, "loss": 1.0}])
    other = mirrored(original, "other")
    other.config["schedule"]["kind"] = "cosine"
    poor = mirrored(original, "poor")
    del poor.rows[1]["train_loss"]
    server.runs = [foreign, other, poor, mirrored(original)]
    assert len(fetch()) == 1
    start = "the run {} of team/study is left out: "
    assert reports[0].startswith(start.format("foreign") + "its config has no key adabatch")
    assert reports[1].startswith(
        start.format("other") + "its config is none of this trainer's: schedule.kind is cosine"
    )
    assert reports[2] == start.format("poor") + "epoch 2 has None as its train_loss, which is no number."


def test_a_history_that_comes_short_is_not_taken_for_the_whole(server, fetch, original, reports, monkeypatch):
    run = mirrored(original)
    server.runs = [run]
    monkeypatch.setattr(FakeRun, "last_step", 9)
    assert fetch() == []
    assert reports == ["the run first of team/study is left out: wandb gave its history up to step 3 of 9."]


def test_runs_lie_apart_whatever_they_are_called(server, fetch, original, tmp_path):
    first, second = mirrored(original, "first"), mirrored(original, "second")
    alone, outside = without_launch(first), mirrored(original, "outside")
    alone.name = "../../alone"
    outside.config["adabatch"]["launch"] |= {"sweep": "../../..", "arm": "a/b"}
    server.runs = [first, second, alone, outside]
    root = tmp_path / "fetched"
    cell = root / "demo/synthetic-tiny_cnn/adaptive"
    paths = [cell / "seed_0", cell / "seed_0-2", root / "_.._alone", root / "_.._../synthetic-tiny_cnn/a_b/seed_0"]
    assert fetch() == paths
    server.runs.reverse()
    assert fetch() == paths[::-1]
    assert all(RunDir(path).done.exists() for path in paths)


def test_an_empty_project_is_said_to_be_empty(fetch, reports):
    assert fetch() == []
    assert reports == ["the project team/study holds no run."]


@pytest.mark.parametrize("project", ["study", "team/", "/study", "team/study/run", ""])
def test_a_project_is_named_with_its_entity(project, tmp_path):
    with pytest.raises(ConfigError, match=f"The project is {project}; it must be given as ENTITY/PROJECT"):
        fetch_wandb(project, tmp_path)


def test_an_unknown_project_costs_a_sentence(server, tmp_path):
    with pytest.raises(ConfigError, match="The project is team/none; it must be one that the server has"):
        fetch_wandb("team/none", tmp_path)
    assert list(tmp_path.glob("demo")) == []


@pytest.mark.parametrize(("operation", "status"), [("Viewer", 401), ("Runs", 401), ("Runs", 403)])
def test_a_refused_key_costs_a_sentence(server, fetch, operation, status):
    server.refusals = {operation: [status] * 5}
    with pytest.raises(
        ConfigError, match=r"The wandb API key is refused \(.*\); it must be one that may read team/study"
    ):
        fetch()


def test_a_malformed_key_costs_a_sentence(fetch, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(ConfigError, match=r"The wandb API key is refused \(.*40\+ characters"):
        fetch()


def test_no_key_costs_a_sentence(fetch, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="No wandb API key is given; it must be in WANDB_API_KEY or stored"):
        fetch()


def test_the_command_says_by_its_exit_status_how_it_went(original, server, tmp_path, capsys):
    server.runs = [mirrored(original)]
    assert main(["fetch-wandb", WHERE, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip().endswith("seed_0")
    assert main(["fetch-wandb", "nobody", "-o", str(tmp_path / "out")]) == 2
    assert "The project is nobody; it must be given as ENTITY/PROJECT." in capsys.readouterr().err
