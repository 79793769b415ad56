"""Parts of a submission to SLURM that need no cluster: shares of a cap, raised limits, variables, ids."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from adabatch.rundir.journal import Journal
from adabatch.rundir.states import State
from launch.cluster_config import ClusterConfig
from launch.config import load_cluster
from launch.job import TrainJob
from launch.job_environment import left_out
from launch.raised_limits import raised
from launch.slurm import Queue, compact_ids
from launch.slurm_request import recover_lost_answers
from launch.slurm_throttle import Share, shares
from launch.status import RunStatus
from tests.launch.test_slurm import write_script


@pytest.mark.parametrize(
    ("sizes", "cap", "expected"),
    [
        ([8], 3, [Share(3)]),
        ([6, 6], 5, [Share(3), Share(2)]),
        ([1, 6], 5, [Share(1), Share(4)]),  # the last job of an array takes no more than its own place
        ([1, 6, 6], 2, [Share(1), Share(1), Share(1, after=0)]),
        ([6, 6, 6, 6], 1, [Share(1), Share(1, after=0), Share(1, after=1), Share(1, after=2)]),
        ([2, 2], 10, [Share(2), Share(2)]),
        ([6, 6], None, [Share(None), Share(None)]),
    ],
)
def test_a_cap_is_shared_among_arrays(sizes, cap, expected):
    assert shares(sizes, cap) == expected


@pytest.mark.parametrize("cap", range(1, 9))
def test_arrays_that_may_work_at_the_same_time_keep_to_the_cap(cap):
    """One array of each chain works at a time, with the share that the whole chain has."""
    parts = shares([5, 1, 7, 3, 2], cap)
    first = [part.throttle or 0 for part in parts if part.after is None]
    assert sum(first) == cap
    for part in parts:
        assert part.after is None or parts[part.after].throttle == part.throttle


def status(state: State, cause: str | None) -> RunStatus:
    return RunStatus(Path("run"), "run", None, state, cause, 1, "7_0", 1, 2, None, None)


@pytest.mark.parametrize(
    ("state", "cause", "had", "minutes", "memory_gb"),
    [
        (State.OUT_OF_MEMORY, "SLURM: OUT_OF_MEMORY", (30, 4.0), 30, 8.0),
        (State.OUT_OF_MEMORY, "OutOfMemory: CUDA out of memory", (30, 4.0), 30, 4.0),  # more of the node helps nothing
        (State.TIMEOUT, "stopped by a time limit, 3 retries used up", (30, 4.0), 45, 4.0),
        (State.TIMEOUT, "stopped by a time limit, 3 retries used up", (45, 8.0), 68, 8.0),  # 67.5 minutes, rounded up
        (State.FAILED, "NonFiniteLoss: nan", (45, 8.0), 45, 8.0),  # what was raised before stays raised
        (State.MISSING, None, None, 30, 4.0),
    ],
)
def test_a_limit_that_a_run_met_is_raised(state, cause, had, minutes, memory_gb):
    words = {"timeout_min": "30", "memory_gb": "4", "retry": "{memory: 2x, time: 1.5x}"}
    facts = {} if had is None else {"minutes": had[0], "memory_gb": had[1]}
    limits = raised([(facts, status(state, cause))], load_cluster("slurm", words))
    assert (limits.minutes, limits.memory_gb) == (minutes, memory_gb)


def test_of_a_chain_only_the_job_that_met_its_limit_gets_more_time():
    cluster = load_cluster("slurm", {"time": "{1: 0:30:00, 4: 0:20:00}", "retry.time": "2x"})
    met = raised([({"minutes": 30}, status(State.TIMEOUT, None))], cluster, 1)
    behind = raised([({"minutes": 20}, None)], cluster, 4)
    assert (met.minutes, behind.minutes) == (60, 20)


def test_without_a_factor_every_submission_asks_for_what_the_cluster_says():
    cluster = ClusterConfig(kind="slurm", timeout_min=30, memory_gb=4)
    limits = raised([({"minutes": 90, "memory_gb": 16.0}, status(State.TIMEOUT, None))], cluster)
    assert (limits.minutes, limits.memory_gb) == (30, 4)


def test_only_what_describes_the_shells_own_job_is_left_out():
    own = {"SLURM_CONF": "x", "SLURM_CLUSTERS": "y", "SBATCH_GRES": "gpu:1", "SLURM_EXACT": "1", "PATH": "z"}
    assert left_out({**own, "RANK": "0", "MASTER_PORT": "1"}) == ["RANK", "MASTER_PORT"]
    within = {**own, "SLURM_JOB_ID": "7", "SRUN_DEBUG": "3", "CUDA_VISIBLE_DEVICES": "0"}
    assert sorted(left_out(within)) == [
        "CUDA_VISIBLE_DEVICES",
        "SBATCH_GRES",
        "SLURM_EXACT",
        "SLURM_JOB_ID",
        "SRUN_DEBUG",
    ]


def test_elements_of_an_array_are_cancelled_in_one_word():
    assert compact_ids(["7_0", "9", "7_2", "7_1", "7_5", "8_3"]) == ["9", "7_[0-2,5]", "8_[3]"]


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self):
        return Path.touch, (self._file,)


@pytest.mark.slow
def test_a_lost_answers_task_is_found_without_unpickling_what_others_may_have_written(tmp_path, monkeypatch):
    write_script(tmp_path / "bin" / "squeue", "echo '77|None'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    journal = Journal(tmp_path / "sweep")
    logs = journal.logs / "first"
    logs.mkdir(parents=True)
    run = tmp_path / "sweep" / "cell" / "seed_0"
    DelayedSubmission(TrainJob([str(run)], 3)).dump(logs / "task.pkl")
    (logs / "another.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    (logs / "damaged.pkl").write_bytes(b"\x80\x05X")
    journal.record_intent("t", "sweep-t", [["cell/seed_0"]], "first")
    recover_lost_answers(journal)
    assert journal.accepted_job_ids() == ["77"]
    assert (logs / "77_submitted.pkl").exists()
    assert sorted(path.name for path in logs.glob("[a-z]*.pkl")) == ["another.pkl", "damaged.pkl"]
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_a_word_that_is_no_id_in_a_journal_hides_no_job(tmp_path, monkeypatch):
    """squeue would refuse all of them for that one, and runs that are queued would be submitted again."""
    write_script(tmp_path / "bin" / "squeue", f'echo "$@" >> {tmp_path / "asked"}', "echo '77_1|RUNNING|None'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert Queue.ask(["77_1", "nonsense", "7x", "77_[2-3]", "9" * 30]).is_live("77_1")
    assert "--jobs=77 " in (tmp_path / "asked").read_text()
