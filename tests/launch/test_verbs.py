"""The everyday verbs on this machine: wait, logs, cancel of a run, rerun, submit --only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adabatch.reading import Unreadable
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.outcome import Failure, mark_done, mark_failed
from tests.launch.support import Launch
from tests.support import wait_until

LOCAL = "cluster=local"
NEVER_ENDING = ("num_epochs=100000", "schedule.every_epochs=100000")
CELL = "synthetic-tiny_cnn"


@pytest.mark.slow
def test_a_sweep_arm_by_arm_then_one_run_again(launch: Launch) -> None:
    """What is submitted is what --only names; rerun keeps what a run left, and trains the same config anew."""
    words = ("submit", "sweep=two", LOCAL, "sweep.seeds=[0]")
    wrong = launch(*words, "--only", "adaptiv")
    assert wrong.status == 2
    assert "--only is adaptiv; it must be an arm or a cell of the sweep: " in wrong.err
    assert "Did you mean adaptive?" in wrong.err
    part = launch(*words, "--only", "adaptive")
    assert part.status == 0
    assert "submitting 1 run (1 left alone)" in part.out
    folder = launch.runs_dir / "two"
    assert list(launch.states("two")) == [f"{CELL}/adaptive/seed_0"]
    run = RunDir(folder / CELL / "adaptive" / "seed_0")
    before = run.epochs.read_text()
    assert launch(*words, "--only", f"{CELL}/fixed/seed_0").status == 0
    assert launch("wait", str(folder)).status == 0

    again = launch("rerun", str(run.path))
    assert again.status == 0, again.err
    kept = run.path / ".earlier" / "1"
    assert f"{CELL}/adaptive/seed_0: what it left is kept in {kept}" in again.out
    assert (kept / "epochs.csv").read_text() == before
    assert (kept / "DONE").exists()
    assert (kept / "config.yaml").read_text() == run.config.read_text()
    # All but the seconds is the same.
    assert [row.split(",")[:8] for row in run.epochs.read_text().splitlines()] == [
        row.split(",")[:8] for row in before.splitlines()
    ]
    assert launch.states("two")[f"{CELL}/adaptive/seed_0"]["attempts"] == 1
    facts = read_meta(run).launch
    assert (facts.reruns, facts.arm, facts.baseline) == (1, "adaptive", "fixed")
    assert "nothing to submit (2 done)" in launch(*words).out
    assert launch("status", str(folder)).status == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_run_is_watched_and_stopped_while_its_queue_goes_on(launch: Launch) -> None:
    words = ("submit", "sweep=long", "sweep.seeds=[0,1,2]", LOCAL, *NEVER_ENDING, "--detach", "--only")
    cell = launch.runs_dir / "long" / "digits-tiny_cnn" / "adaptive"
    assert launch(*words, "digits-tiny_cnn").status == 0
    wait_until(lambda: (launch.states("long")["digits-tiny_cnn/adaptive/seed_0"]["epoch"] or 0) >= 2)
    shown = launch("logs", str(cell / "seed_0"))
    assert shown.status == 0
    assert shown.out == (cell / "seed_0" / "log.txt").read_text()[: len(shown.out)]
    assert launch("logs", str(cell / "seed_0"), "-n", "1").out.count("\n") == 1
    waiting = launch("logs", str(cell / "seed_1"))
    assert waiting.status == 2
    assert "seed_1 has no log: it is pending; logs -f waits for one." in waiting.err
    active = launch("rerun", str(cell / "seed_1"))
    assert "is pending; rerun takes runs that have ended: cancel it first." in active.err

    follower = launch.process("logs", str(cell / "seed_0"), "--follow")
    assert "1 queued or running" in launch("cancel", str(cell / "seed_1")).out
    assert "1 queued or running" in launch("cancel", str(cell / "seed_0")).out
    output, _ = follower.communicate(timeout=120)
    assert follower.returncode == 0
    assert output == (cell / "seed_0" / "log.txt").read_text()
    wait_until(lambda: (launch.states("long")["digits-tiny_cnn/adaptive/seed_2"]["epoch"] or 0) >= 1)
    states = {name[-1]: run for name, run in launch.states("long").items()}
    assert {number: run["state"] for number, run in states.items()} == {
        "0": "cancelled", "1": "cancelled", "2": "running",
    }  # fmt: skip
    assert (states["0"]["cause"], states["1"]["cause"]) == (
        "stopped by SIGTERM after saving a checkpoint", "before it started",
    )  # fmt: skip
    assert launch("wait", str(cell), "--timeout", "0").status == 3
    assert "1 queued or running" in launch("cancel", str(launch.runs_dir / "long")).out
    waited = launch("wait", str(launch.runs_dir / "long"))
    assert waited.status == 3
    assert f"{launch.runs_dir / 'long'}: 3 runs: 3 cancelled" in waited.out


@pytest.mark.slow
def test_a_run_that_shares_a_job_in_turn_is_cancelled_alone(launch: Launch) -> None:
    """Of four runs in two jobs, one is cancelled while it waits for its turn, and two while they train."""
    words = ("submit", "sweep=two", "sweep.seeds=[0,1]", LOCAL, "cluster.block=seed", *NEVER_ENDING, "--detach")
    assert launch(*words).status == 0
    folder = launch.runs_dir / "two"

    cancelled: list[str] = []

    def cancel(name: str) -> None:
        assert "1 queued or running" in launch("cancel", str(folder / name)).out
        cancelled.append(name)

    def next_one() -> str:
        """Return the run that trains after those that were cancelled."""
        states = wait_until(lambda: [
            name for name, run in launch.states("two").items() if run["state"] == "running" and name not in cancelled
        ])  # fmt: skip
        return states[0]

    first = next_one()
    (waiting,) = (name for name in launch.states("two") if name.endswith("seed_0") and name != first)
    cancel(waiting)
    cancel(first)
    cancel(next_one())
    cancel(next_one())
    assert [name[-1] for name in cancelled] == ["0", "0", "1", "1"]
    assert launch("wait", str(folder)).status == 3
    states = launch.states("two")
    assert {run["state"] for run in states.values()} == {"cancelled"}
    assert [name for name, run in states.items() if run["cause"] == "before it started"] == [waiting]


@pytest.mark.long
@pytest.mark.slow
def test_a_run_that_shares_a_device_is_cancelled_alone(launch: Launch) -> None:
    words = ("submit", "sweep=two", "sweep.seeds=[0]", LOCAL, "cluster.runs_per_job=2", *NEVER_ENDING, "--detach")
    assert launch(*words).status == 0
    folder = launch.runs_dir / "two"

    def states() -> dict[str, str]:
        return {run["arm"]: run["state"] for run in launch.states("two").values()}

    wait_until(lambda: set(states().values()) == {"running"} and all(r["epoch"] for r in launch.states("two").values()))
    launch("cancel", str(folder / CELL / "fixed" / "seed_0"))
    wait_until(lambda: states()["fixed"] == "cancelled")
    epoch = launch.states("two")[f"{CELL}/adaptive/seed_0"]["epoch"]
    wait_until(lambda: launch.states("two")[f"{CELL}/adaptive/seed_0"]["epoch"] > epoch)
    launch("cancel", str(folder))
    assert launch("wait", str(folder)).status == 3
    assert states() == {"fixed": "cancelled", "adaptive": "cancelled"}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A sweep's folder with 120 runs of two arms: of the adaptive one, each third failed, in different epochs."""
    folder = tmp_path / "many"
    (folder / ".launch").mkdir(parents=True)
    for arm in ("adaptive,optimizer.momentum=0.5", "fixed,optimizer.momentum=0.5"):
        for seed in range(60):
            run = RunDir(folder / "cell" / arm / f"seed_{seed}")
            run.path.mkdir(parents=True)
            run.config.write_text("num_epochs: 20\n")
            if arm.startswith("adaptive") and seed % 3 == 0:
                mark_failed(run, Failure("NonFiniteLoss", f"the loss became NaN in epoch {seed}", ""))
            elif seed != 1:
                mark_done(run, "20 epochs")
    return folder


def test_many_runs_are_counted_by_arm_and_by_cause(launch: Launch, many: Path) -> None:
    answer = launch("status", str(many))
    assert answer.status == 1
    lines = answer.out.splitlines()
    assert lines[0] == f"{many}: 120 runs: 98 done, 20 failed, 2 missing"
    rows = [line.split() for line in lines]
    assert ["arm", "done", "failed", "missing"] in rows
    assert ["adaptive", "39", "20", "1"] in rows
    assert ["fixed", "59", "1"] in rows
    assert "20 failed: such as NonFiniteLoss: the loss became NaN in epoch 0" in answer.out
    assert len(lines) < 15
    every = launch("status", str(many), "--all").out
    assert sum("seed_" in line and "momentum" in line for line in every.splitlines()) >= 120


def test_status_shows_what_is_asked_for(launch: Launch, many: Path) -> None:
    answer = launch("status", str(many), "--state", "failed,missing", "--format", "json", "--sort", "state")
    assert [run["state"] for run in json.loads(answer.out)] == ["failed"] * 20 + ["missing"] * 2
    fixed = json.loads(launch("status", str(many), "--arm", "fixed", "--format", "json").out)
    assert {run["arm"] for run in fixed} == {"fixed,optimizer.momentum=0.5"}
    assert len(fixed) == 60
    assert "2 of 120 runs: 2 missing" in launch("status", str(many), "--state", "missing").out
    for words, sentence in (
        (("--state", "fialed"), "--state is fialed; it must be a list of pending, running, done"),
        (("--arm", "adapt"), "--arm is adapt; it must be one of adaptive, fixed. Did you mean adaptive?"),
    ):
        wrong = launch("status", str(many), *words)
        assert wrong.status == 2
        assert sentence in wrong.err


def test_verbs_refuse_what_is_no_run(launch: Launch, tmp_path: Path) -> None:
    for words in (("logs", str(tmp_path)), ("rerun", str(tmp_path)), ("wait", str(tmp_path)), ("rerun",)):
        answer = launch(*words)
        assert answer.status == 2
        assert answer.err
    run = RunDir(tmp_path / "alone")
    run.path.mkdir()
    run.config.write_text("num_epochs: 20\n")
    assert "rerun takes runs of one submitted sweep" in launch("rerun", str(run.path)).err


def make_run(path: Path) -> RunDir:
    run = RunDir(path)
    run.path.mkdir(parents=True)
    run.config.write_text("num_epochs: 20\n")
    return run


def test_logs_of_others_cannot_move_the_terminal_or_lead_elsewhere(launch: Launch, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.log.write_text("one\n\x1b[2Jtwo\u202e\n")
    assert launch("logs", str(run.path)).out == "one\n\\x1b[2Jtwo\\u202e\n"
    (tmp_path / "secret").write_text("secret\n")
    run.log.unlink()
    run.log.symlink_to(tmp_path / "secret")
    linked = launch("logs", str(run.path))
    assert (linked.status, linked.out) == (2, "")
    assert f"{run.log} cannot be read: it is a link, and must be a regular file." in linked.err


def test_status_and_wait_take_several_folders(launch: Launch, tmp_path: Path) -> None:
    mark_done(make_run(tmp_path / "first" / "a"), "20 epochs")
    make_run(tmp_path / "second" / "b")
    folders = [str(tmp_path / name) for name in ("first", "second", "third")]
    for words in (("status", *folders), ("wait", *folders), ("status", *folders, "--watch")):
        answer = launch(*words)
        assert answer.status == 3
        shown = "".join(answer.out.split())  # lines break anywhere in a long path
        assert f"{folders[0]}:1run:1done" in shown
        assert f"{folders[1]}:1run:1missing" in shown
        assert answer.err.count(f"{folders[2]} does not exist") == 1
    assert launch("wait", folders[0]).status == 0
    chosen = json.loads(launch("status", *folders[:2], "--state", "missing", "--format", "json").out)
    assert [run["name"] for run in chosen] == ["b"]


def test_what_is_set_aside_stays_in_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    mark_done(run, "20 epochs")
    for name in ("2", "\u00b2", "x"):
        (run.path / ".earlier" / name).mkdir(parents=True)
    kept = run.set_aside()
    assert kept == run.path / ".earlier" / "3"
    assert (kept / "DONE").exists()
    assert not run.done.exists()
    assert (kept / "config.yaml").read_text() == run.config.read_text()

    other = make_run(tmp_path / "other")
    mark_done(other, "20 epochs")
    (tmp_path / "outside").mkdir()
    (other.path / ".earlier").symlink_to(tmp_path / "outside")
    with pytest.raises(Unreadable, match="is a link, and must be a folder"):
        other.set_aside()
    assert other.done.exists()
    assert not list((tmp_path / "outside").iterdir())
