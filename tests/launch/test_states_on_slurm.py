"""One reading of a run's state: what SLURM says, what it does not say, and what files say afterwards."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.rundir.outcome import Failure, mark_done, mark_failed
from adabatch.rundir.process_identity import this_process
from adabatch.rundir.records import append_record
from adabatch.rundir.state import read_state
from adabatch.rundir.states import State
from launch.status import read_status
from tests.launch.fake_slurm import FakeSlurm
from tests.support import wait_until

pytestmark = pytest.mark.slow  # each starts SLURM's programs

GONE = {**this_process().as_dict(), "pid": 2**22 - 3, "host": "n1"}


class Sweep:
    """A sweep of two runs, submitted as the array 7."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = [RunDir(folder / "cell" / "adaptive" / f"seed_{seed}") for seed in range(2)]
        for run in self.runs:
            run.path.mkdir(parents=True)
            run.config.write_text("seed: 0\nnum_epochs: 20\n")
        self.journal = Journal(folder)
        self.journal.create()
        self.names = [run.path.relative_to(folder).as_posix() for run in self.runs]
        intent = self.journal.record_intent("t", "sweep-t", [[name] for name in self.names], "logs")
        self.journal.record_acceptance(intent, ["7_0", "7_1"])

    def states(self) -> list[State]:
        return [status.state for status in read_status(self.folder)]

    def first(self) -> tuple[State, str | None]:
        status = read_status(self.folder)[0]
        return status.state, status.cause

    def log(self, text: str) -> None:
        (self.journal.logs / "logs").mkdir(exist_ok=True)
        (self.journal.logs / "logs" / "7_0_0_log.err").write_text(text)


@pytest.fixture
def sweep(tmp_path: Path, slurm: FakeSlurm) -> Sweep:
    return Sweep(tmp_path / "sweep")


def start(run: RunDir, **values: object) -> None:
    append_record(run.attempts, {"event": "start", **GONE, "job_id": "7_0", **values})


def end(run: RunDir, **values: object) -> None:
    append_record(run.attempts, {"event": "end", **values})


def test_silence_of_the_controller_makes_nothing_of_a_run(sweep, slurm, launch):
    slurm.queue("7_0|PENDING|Priority", "7_1|PENDING|Priority")
    assert sweep.states() == [State.PENDING, State.PENDING]
    slurm.be_silent()
    answer = launch("status", str(sweep.folder))
    assert answer.status == 3
    assert "2 unknown: unknown (SLURM has not answered for 1 s)" in answer.out
    mark_done(sweep.runs[0], "20 epochs")
    assert sweep.states() == [State.DONE, State.UNKNOWN]


def test_a_run_that_went_on_is_not_what_its_last_summary_says(sweep, slurm):
    """Stopped, requeued and started again; then the controller is silent, or everything is killed."""
    first = sweep.runs[0]
    start(first)
    summary = {"state": "preempted", "cause": "stopped by SIGUSR2", "epochs": 4, "ended_at": time.time()}
    first.summary.write_text(json.dumps(summary))
    end(first, exit_status=75, stopped_by="preemption", gave_up=False)
    (from_files,) = map(read_state, collect_evidence([first.path]))
    assert (from_files.state, from_files.cause) == (State.PENDING, "requeued; the batch system was not asked")
    slurm.be_silent()
    assert sweep.first()[0] is State.UNKNOWN  # the job is in the queue, or it was cancelled there
    start(first, time=time.time() + 0.01)
    slurm.be_silent(False)
    slurm.accounting("7_0|FAILED|1:0")
    assert sweep.first()[0] is State.FAILED
    last = read_status(first.path)[0]
    assert last.epoch is None  # the epochs of the older summary


def test_an_older_failure_does_not_count_after_a_newer_start(sweep, slurm):
    first = sweep.runs[0]
    mark_failed(first, Failure("NonFiniteLoss", "the loss became NaN", ""))
    start(first, time=time.time() + 5)
    slurm.queue("7_0|RUNNING|None")
    assert sweep.first()[0] is State.RUNNING
    slurm.queue()
    slurm.accounting("7_0|NODE_FAIL|0:0")
    assert sweep.first() == (State.NODE_FAILURE, "SLURM: NODE_FAIL")


@pytest.mark.parametrize(
    ("accounting", "state"),
    [("TIMEOUT", State.TIMEOUT), ("CANCELLED by 0", State.CANCELLED), ("NODE_FAIL", State.NODE_FAILURE)],
)
def test_what_only_slurm_knows_is_written_down_for_everybody(sweep, slurm, accounting, state):
    slurm.accounting(f"7_0|{accounting}|0:0", "7_1|COMPLETED|0:0")
    mark_done(sweep.runs[1], "20 epochs")
    assert sweep.states() == [state, State.DONE]
    found = [read_state(evidence) for evidence in collect_evidence([run.path for run in sweep.runs])]  # as tables do
    assert [one.state for one in found] == [state, State.DONE]
    assert found[0].cause == f"SLURM: {accounting.split()[0]}"
    assert (slurm.calls("squeue"), slurm.calls("sacct")) == (1, 1)
    slurm.be_silent()
    assert sweep.states() == [state, State.DONE]
    slurm.be_silent(False)
    assert sweep.states() == [state, State.DONE]
    assert slurm.calls("sacct") == 1  # nothing more to ask
    slurm.queue("7_0|PENDING|None")  # an operator requeued it
    assert sweep.states() == [State.PENDING, State.DONE]


def from_files(sweep: Sweep) -> list[State]:
    """Return the states that tables show."""
    return [read_state(evidence).state for evidence in collect_evidence([run.path for run in sweep.runs])]


def test_a_waiting_element_that_left_its_array_was_cancelled(sweep, slurm):
    """scancel of an element that never became a job of its own: no program of SLURM knows it any more."""
    slurm.queue("7_0|PENDING|Priority")
    slurm.accounting("7_[0]|PENDING|0:0")
    assert sweep.states() == [State.PENDING, State.CANCELLED]
    assert from_files(sweep) == [State.PENDING, State.CANCELLED]


def test_a_job_that_slurm_forgot_no_longer_waits_for_anybody(sweep, slurm):
    assert sweep.first() == (State.MISSING, "SLURM no longer knows job 7_0, which never started")
    assert from_files(sweep) == [State.MISSING, State.MISSING]
    start(sweep.runs[0])
    end(sweep.runs[0], exit_status=75, stopped_by="preemption", gave_up=False)
    assert sweep.first()[0] is State.PREEMPTED
    assert from_files(sweep)[0] is State.PREEMPTED


def test_a_running_run_whose_job_another_cluster_has_is_running(sweep, slurm):
    start(sweep.runs[0])
    assert sweep.states() == [State.RUNNING, State.MISSING]
    assert from_files(sweep)[0] is State.RUNNING


def test_what_accounting_says_late_is_no_state(sweep, slurm):
    """squeue no longer has the job; sacct, which did not hear of its end, still calls it running."""
    slurm.accounting("7_0|RUNNING|0:0", "7_1|PENDING|0:0")
    start(sweep.runs[0], time=time.time() - 3600)
    assert sweep.states() == [State.LOST, State.MISSING]
    slurm.queue("7_0|NODE_FAIL|None")
    assert sweep.states() == [State.NODE_FAILURE, State.MISSING]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("REQUEUE_HOLD", State.PENDING),
        ("SPECIAL_EXIT", State.PENDING),
        ("RESV_DEL_HOLD", State.PENDING),
        ("REVOKED", State.PENDING),
        ("POWER_UP_NODE", State.PENDING),
        ("A_WORD_OF_A_LATER_SLURM", State.PENDING),
        ("STAGE_OUT", State.RUNNING),
        ("SUSPENDED", State.RUNNING),
        ("LAUNCH_FAILED", State.NODE_FAILURE),
    ],
)
def test_a_state_that_is_seldom_seen_starts_no_run_twice(sweep, slurm, word, state):
    slurm.queue(f"7_0|{word}|None")
    found, cause = sweep.first()
    assert found is state
    assert word in cause


def test_finished_runs_ask_nobody(sweep, slurm):
    for run in sweep.runs:
        mark_done(run, "20 epochs")
    assert sweep.states() == [State.DONE, State.DONE]
    assert slurm.calls("squeue") == 0


def test_a_refused_run_is_missing_for_that_reason(sweep, launch):
    again = sweep.journal.record_intent("u", "sweep-u", [["cell/adaptive/seed_2"]], "logs")
    sweep.journal.record_refusal(again, "Batch job submission failed: Invalid partition name specified")
    refused = RunDir(sweep.folder / "cell" / "adaptive" / "seed_2")
    refused.path.mkdir()
    refused.config.write_text("num_epochs: 20\n")
    found = read_status(refused.path)[0]
    assert found.state is State.MISSING
    assert found.cause == "refused: Batch job submission failed: Invalid partition name specified"
    assert launch("status", str(refused.path)).status == 3


@pytest.mark.parametrize(
    ("states", "status"),
    [("dd", 0), ("df", 1), ("fp", 1), ("dp", 3), ("dc", 3), ("cc", 3)],
)
def test_exit_status_says_whether_all_is_done(sweep, slurm, launch, states, status):
    words = {"p": "PENDING", "c": "CANCELLED"}
    for number, (run, letter) in enumerate(zip(sweep.runs, states, strict=True)):
        if letter == "d":
            mark_done(run, "20 epochs")
        elif letter == "f":
            mark_failed(run, Failure("DiskFull", "no space", ""))
            slurm.accounting(f"7_{number}|FAILED|1:0")
        elif letter == "p":
            slurm.queue(f"7_{number}|PENDING|Priority")
    ended = [f"7_{number}|{words['c']}|0:0" for number, letter in enumerate(states) if letter == "c"]
    if ended:
        slurm.accounting(*ended)
    assert launch("status", str(sweep.folder)).status == status
    assert launch("wait", str(sweep.folder), "--timeout", "0").status == status


def test_watching_outlasts_a_silent_controller(sweep, slurm, launch, monkeypatch):
    monkeypatch.setattr("launch.watching.ASK_EVERY_SECONDS", 0.2)
    monkeypatch.setattr("launch.watching._SLURM_MOST_SECONDS", 0.4)
    slurm.be_silent()

    def finish() -> None:
        wait_until(lambda: slurm.calls("squeue") >= 2)
        slurm.accounting("7_0|CANCELLED|0:0", "7_1|COMPLETED|0:0")
        mark_done(sweep.runs[1], "20 epochs")
        slurm.be_silent(False)

    finishing = threading.Thread(target=finish)
    finishing.start()
    answer = launch("status", str(sweep.folder), "--watch", "0.2", "--format", "json")
    finishing.join()
    lines = [json.loads(line) for line in answer.out.splitlines()]
    first = [line for line in lines if line["name"].endswith("seed_0")]
    assert answer.status == 3
    assert [line["state"] for line in first] == ["unknown", "cancelled"]  # not once more for each second of silence
    assert [line["state"] for line in lines if line["name"].endswith("seed_1")][-1] == "done"


def test_slurm_is_asked_seldom_by_those_who_watch(sweep, slurm, launch):
    slurm.queue("7_0|RUNNING|None", "7_1|PENDING|Priority")
    answer = launch("wait", str(sweep.folder), "--timeout", "5")
    assert answer.status == 3
    assert "1 pending, 1 running" in answer.out
    assert slurm.calls("squeue") == 1


FAREWELL = """\
srun: error: n1: task 0: Exited with exit code 1
srun: launch/slurm: _step_signal: Terminating StepId=55703932.0
slurmstepd: error: *** STEP 55703932.0 ON n1 CANCELLED AT 2026-11-26T14:40:00 ***
"""
SYNTAX_ERROR = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/opt/run/adabatch/resume.py", line 3
    def main(:
             ^
SyntaxError: invalid syntax
submitit ERROR (2026-11-26 14:40:00,000) - Submitted job triggered an exception
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/submitit/core/submission.py", line 55, in process_job
launch.job.RunsFailed: failed, with exit status: /runs/a (1)
"""
OWN_CODE = """\
Traceback (most recent call last):
  File "/somewhere/adabatch/run.py", line 150, in resume_run
    worker.train()
  File "/home/me/project/my_nets.py", line 12, in forward
    return self.head(images)
  File "/env/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1775, in __getattr__
    raise AttributeError(
AttributeError: 'Net' object has no attribute 'head'
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (
            "slurmstepd: error: execve(): /opt/nope/python: No such file or directory\n" + FAREWELL,
            "execve(): /opt/nope/python: No such file or directory",
        ),
        ("a warning of no account\n" + SYNTAX_ERROR + FAREWELL, "SyntaxError: invalid syntax (resume.py, line 3)"),
        (OWN_CODE + FAREWELL, "AttributeError: 'Net' object has no attribute 'head' (my_nets.py, line 12, in forward)"),
        ("job.sh: line 9: module: command not found\n" + FAREWELL, "job.sh: line 9: module: command not found"),
        ("one\ntwo\n" + FAREWELL, "two"),
        (FAREWELL, "the log is empty; cluster.setup may have ended the job"),
    ],
)  # fmt: skip
def test_a_cause_is_the_first_thing_that_went_wrong(sweep, slurm, log, cause):
    slurm.accounting("7_0|FAILED|1:0")
    sweep.log(log)
    assert sweep.first() == (State.FAILED, f"SLURM: FAILED, exit code 1:0: {cause}")


def test_a_node_that_does_not_see_the_runs_is_told(sweep, slurm):
    slurm.accounting("7_0|FAILED|0:53")
    state, cause = sweep.first()
    assert state is State.FAILED
    assert cause.startswith("SLURM: FAILED, exit code 0:53: the node could not write the job's log; it probably does")


def test_an_error_in_own_code_names_its_line(sweep, slurm):
    slurm.accounting("7_0|FAILED|1:0")
    mark_failed(sweep.runs[0], Failure("Exception", "AttributeError: no head", OWN_CODE))
    assert sweep.first()[1] == "Exception: AttributeError: no head (my_nets.py, line 12, in forward)"


def test_cancel_takes_a_single_run(sweep, slurm, launch):
    slurm.queue("7_0|PENDING|Priority", "7_1|PENDING|Priority")
    answer = launch("cancel", str(sweep.runs[1].path))
    assert (answer.status, answer.out) == (0, "1 queued or running run is being stopped\n")
    slurm.queue("7_0|PENDING|Priority")
    assert sweep.states() == [State.PENDING, State.CANCELLED]  # without accounting, too
    slurm.be_silent()
    assert sweep.states() == [State.UNKNOWN, State.CANCELLED]
    assert launch("cancel", str(sweep.folder / "nowhere")).status == 2


def test_runs_of_one_job_are_cancelled_together(tmp_path, slurm, launch):
    sweep = Sweep(tmp_path / "packed")
    intent = sweep.journal.record_intent("p", "sweep-p", [sweep.names], "logs")
    sweep.journal.record_acceptance(intent, ["8"])
    slurm.queue("8|RUNNING|None")
    answer = launch("cancel", str(sweep.runs[1].path))
    assert answer.status == 2
    assert "job 8 also trains cell/adaptive/seed_0" in answer.err
    assert "1 queued or running" in launch("cancel", str(sweep.folder / "cell")).out


def test_damaged_lines_about_job_ends_and_cancellations_say_nothing(sweep):
    lines: list[dict[str, object]] = [
        {"job_id": "7_0", "state": ["timeout"], "cause": None},
        {"job_id": "7_0", "state": "done", "cause": None},
        {"job_id": ["7_0"], "state": "timeout", "cause": None},
        {"job_id": "7_0", "state": "timeout", "cause": {}},
    ]
    for line in lines:
        append_record(sweep.journal.folder / "job_ends.jsonl", line)
    for runs in (sweep.names[0], {sweep.names[0]: 1}, [[sweep.names[0]]], None):
        for event in ("cancelled", "set_aside"):
            append_record(sweep.journal.folder / "submissions.jsonl", {"event": event, "runs": runs})
    found = read_state(collect_evidence([sweep.runs[0].path])[0])
    assert (found.state, found.cause) == (State.PENDING, "submitted as job 7_0; the batch system was not asked")


def test_states_do_not_hang_on_the_clocks_of_machines(sweep, slurm):
    """What a machine wrote whose clock is two hours ahead counts by the clock of the file system."""
    ahead = 2 * 3600.0
    first = sweep.runs[0]
    shifted = {"time": time.time() + ahead, "clock_ahead_seconds": ahead}
    start(first, **shifted)
    mark_failed(first, Failure("NonFiniteLoss", "the loss became NaN", ""))
    slurm.accounting("7_0|FAILED|1:0")
    assert sweep.first() == (State.FAILED, "NonFiniteLoss: the loss became NaN")
    slurm.accounting("7_0|NODE_FAIL|0:0")
    end_record = {"job_id": "7_0", "state": "timeout", "cause": "SLURM: TIMEOUT", **shifted}
    append_record(sweep.journal.folder / "job_ends.jsonl", end_record)
    found = read_state(collect_evidence([first.path])[0])
    assert (found.state, found.cause) == (State.TIMEOUT, "SLURM: TIMEOUT")
    start(first)  # it was started again after that end
    found = read_state(collect_evidence([first.path])[0])
    assert found.state is not State.TIMEOUT
