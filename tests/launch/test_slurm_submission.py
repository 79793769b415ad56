"""What is asked of a real SLURM cluster, and what happens when it takes less; see tests/slurm/cluster.py."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adabatch.config import CONF_DIR
from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.state import read_state
from adabatch.rundir.states import State
from launch.cli import main
from tests.adabatch.support import read_rows
from tests.launch.support import Launch
from tests.launch.test_slurm import QUICK, held, job_ids, submit_one, wait_for_state, write_script
from tests.support import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm chains")]  # that group is done sooner

__all__ = ["held"]  # a fixture
EIGHT = ("submit", "sweep=two", "sweep.seeds=[0,1,2,3]", *QUICK)


def sbatch_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Put a script before sbatch; ``$real`` is the real one."""
    write_script(tmp_path / "bin" / "sbatch", f"real={shutil.which('sbatch')}", *lines)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def queued(cluster) -> list[str]:
    return sorted(cluster.run("squeue", "--noheader", "--array", "--format=%i").split())


def test_as_many_jobs_as_a_limit_allows_and_the_rest_when_there_is_room(cluster, launch, held):
    """Eight jobs, three allowed: 8, 4 are refused, 2 accepted, 2 refused, 1 accepted. The others follow."""
    cluster.limit_jobs(3)
    try:
        first = launch(*EIGHT, held)
        assert first.status == 3
        assert "5 runs are not submitted: SLURM takes no more jobs of yours now" in first.out
        assert len(queued(cluster)) == 3
        again = launch(*EIGHT, held)
        assert again.status == 3
        assert "submitting 5 runs (3 running or queued)" in again.out
        shell = launch.process(*EIGHT, held, "--wait-for-room")
        assert any("waiting for room" in line for line in iter(shell.stdout.readline, ""))
        cluster.limit_jobs(None)
        shell.communicate(timeout=240)
        assert shell.returncode == 0
    finally:
        cluster.limit_jobs(None)
    assert sorted(job_ids(launch, "two")) == queued(cluster)
    assert len(queued(cluster)) == 8


def test_a_job_that_exists_although_sbatch_failed_is_found_and_runs(cluster, launch, monkeypatch, tmp_path):
    """Its answer never came, so submitit has not put its task in place either."""
    fail = 'echo "sbatch: error: Batch job submission failed: Unexpected message received" >&2; exit 1'
    sbatch_instead(tmp_path, monkeypatch, '$real "$@" > /dev/null', fail)
    submit_one(launch, "doubtful")
    assert "nothing to submit" in launch("submit", "sweep=one", "sweep.name=doubtful", *QUICK).out
    assert wait_for_state(launch, "doubtful", "done", "failed")["state"] == "done"
    assert len(job_ids(launch, "doubtful")) == 1


def test_a_busy_controller_is_asked_again(cluster, launch, held, monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    fail = '{ echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1; }'
    sbatch_instead(
        tmp_path, monkeypatch, f"echo >> {calls}", f"[ $(wc -l < {calls}) -gt 1 ] || {fail}", 'exec $real "$@"'
    )
    submit_one(launch, "busy", held)
    assert queued(cluster) == job_ids(launch, "busy")


def test_a_job_does_not_inherit_what_describes_the_shells_own_job(cluster, launch, monkeypatch):
    """With the shell's memory per CPU, srun would refuse to start; with its RANK, the trainer would wait for others."""
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "1000", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")
    submit_one(launch, "within", "cluster.memory_gb=2")
    assert wait_for_state(launch, "within", "done", "failed")["state"] == "done"


def test_a_batch_script_with_two_tasks_and_no_step_starts_local_ranks(cluster, tmp_path):
    """SLURM says there that there are two tasks, of which nobody has started the second."""
    run, script = tmp_path / "run", tmp_path / "job.sh"
    words = ("network=tiny_cnn", "dataset=digits", "num_epochs=1", "schedule.every_epochs=1", "hardware.num_threads=1")
    command = [sys.executable, "-m", "adabatch", *words, "hardware.num_devices=2", f"run_dir={run}"]
    write_script(script, f"cd {CONF_DIR.parent}", f"exec {shlex.join(command)}")
    cluster.run("sbatch", "--ntasks=2", f"--output={tmp_path / 'out'}", str(script))
    wait_until(lambda: (run / "DONE").exists() or (run / "FAILED").exists())
    assert (run / "DONE").exists(), (tmp_path / "out").read_text()
    assert [row["world_size"] for row in read_rows(RunDir(run))] == ["2"]


def test_every_option_reaches_sbatch_and_dry_run_shows_it(cluster, launch, held, monkeypatch):
    words = ("cluster.sbatch={exclude: n1, nice: 100, mem_per_cpu: 500M, hold: true}", "cluster.time=1-12:30:00")
    submit = ("submit", "sweep=one", *QUICK[::2], *words, "cluster.sbatch.comment=two words", held)
    dry = launch(*submit, "--dry-run")
    assert dry.status == 0, dry.err
    for line in ("--exclude=n1", "--comment='two words'", "--time=2190", "--mem-per-cpu=500M"):
        assert f"#SBATCH {line}\n" in dry.out
    assert "wckey" not in dry.out
    assert not launch.runs_dir.exists()
    monkeypatch.setenv("SBATCH_BEGIN", "now+1hour")  # outside a job, these are the user's own
    assert launch(*submit).status == 0
    shown = cluster.shown(job_ids(launch, "one")[0])
    assert shown["JobName"].startswith("one.adaptive-")
    assert shown["ExcNodeList"] == "n1"
    assert shown["TimeLimit"] == "1-12:30:00"
    assert shown["MinMemoryCPU"] == "500M"
    assert shown["Nice"] == "100"
    assert shown["StartTime"] != "Unknown" or shown["Priority"] == "0"
    refused = launch(*submit, "sweep.name=other", "cluster.sbatch.nonsense=1")
    assert refused.status == 2
    assert "unrecognized option" in refused.err


def test_gpus_of_a_type_are_asked_for_once(cluster, launch, held):
    gpu = ("hardware=gpu", "hardware.num_devices=2", held)
    for name, words in {
        "typed": ["cluster.gpus_per_node=a100:2"],
        "gres": ["cluster.sbatch={gres: 'gpu:a100:2'}"],
    }.items():
        job = submit_one(launch, name, *gpu, *words)
        assert cluster.shown(job)["TresPerNode"] == "gres:gpu:a100:2"
    wrong = launch("submit", "sweep=one", "sweep.name=wrong", *QUICK, *gpu, "cluster.gpus_per_node=h100:2")
    assert wrong.status == 2
    assert "sbatch refused" in wrong.err


def test_a_cap_that_is_changed_reaches_what_is_queued(cluster, launch, held):
    """Arrays of six and two. With one job at once the second waits for the first; with five they share: 3 and 2."""
    assert launch(*EIGHT, held, "cluster.max_concurrent_jobs=1").status == 0
    first, second = dict.fromkeys(job.split("_")[0] for job in job_ids(launch, "two"))
    assert cluster.shown(first)["ArrayTaskThrottle"] == "1"
    assert f"afterany:{first}" in cluster.shown(second)["Dependency"]
    raised = launch(*EIGHT, held, "cluster.max_concurrent_jobs=5")
    assert f"SLURM job {first}: at most 3 jobs at once" in raised.out
    assert cluster.shown(first)["ArrayTaskThrottle"] == "3"
    assert cluster.shown(second)["ArrayTaskThrottle"] == "2"
    assert cluster.shown(second)["Dependency"] == "(null)"
    smaller = (*EIGHT, held, "sweep.seeds=[0,1,2,3,4,5]", "cluster.max_array_size=2", "cluster.max_concurrent_jobs=5")
    assert launch(*smaller).status == 0
    arrays = list(dict.fromkeys(job.split("_")[0] for job in job_ids(launch, "two")))
    assert [cluster.shown(array)["ArrayTaskThrottle"] for array in arrays] == ["2", "1", "1", "1"]
    cluster.run("scancel", arrays[0])  # the others take over its share: 2, 2 and 1
    assert launch("status", str(launch.runs_dir / "two")).status == 3
    assert [cluster.shown(array)["ArrayTaskThrottle"] for array in arrays[1:]] == ["2", "2", "1"]


def test_a_waiting_run_that_was_cancelled_from_outside_is_cancelled_for_everybody(cluster, launch, held):
    """An element of an array that never became a job of its own is on no record of SLURM afterwards."""
    assert launch(*EIGHT, held).status == 0
    job = job_ids(launch, "two")[1]
    cluster.run("scancel", job)
    by_job = {run["job_id"]: run for run in launch.states("two").values()}
    assert (by_job[job]["state"], by_job[job]["cause"]) == ("cancelled", "SLURM: CANCELLED (in the queue)")
    assert [run["state"] for run in by_job.values()].count("pending") == 7
    (evidence,) = collect_evidence([Path(by_job[job]["run_dir"])])
    assert read_state(evidence).state is State.CANCELLED  # as tables have it
    assert "submitting 1 run (7 running or queued)" in launch(*EIGHT, held).out


def test_odd_characters_in_a_path_do_no_harm_and_a_line_break_is_refused(cluster, launch, held):
    odd = ("--runs-dir", str(launch.runs_dir / "100%j # ü quo'te"))
    words = ("submit", "sweep=one", *QUICK, "--config-dir", str(launch.config_dir))
    assert main([*words, *odd]) == 0
    assert main(["wait", f"{odd[1]}/one", "--timeout", "120"]) == 0
    assert main([*words, "sweep.name=other", held, *odd]) == 0
    assert main(["cancel", f"{odd[1]}/other"]) == 0
    assert main(["wait", f"{odd[1]}/other", "--timeout", "60"]) == 3
    broken = launch.runs_dir / "two\nlines"
    assert main([*words, "--runs-dir", str(broken)]) == 2
    assert not list(broken.glob("*/*/*/*/config.yaml"))


def test_a_full_disk_costs_a_sentence(cluster, launch, held, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], check=True)
    try:
        words = ("submit", "sweep=one", *QUICK, held, "--config-dir", str(launch.config_dir), "--runs-dir", str(disk))
        assert main([*words]) == 2
        assert main(["cancel", str(disk / "one")]) == 0
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert main([*words]) == 0
        assert len(queued(cluster)) == 1
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert main([*words]) == main(["cancel", str(disk / "one")]) == 2
    finally:
        cluster.cancel_all()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_the_arms_of_a_seed_share_a_job_in_their_recorded_order(cluster, launch):
    assert launch("submit", "sweep=two", *QUICK, "cluster.block=seed").status == 0
    assert len(job_ids(launch, "two")) == 2
    wait_until(lambda: {run["state"] for run in launch.states("two").values()} == {"done"})
    for seed in (0, 1):
        metas = [json.loads(path.read_text()) for path in launch.runs_dir.glob(f"two/*/*/seed_{seed}/meta.json")]
        first, second = sorted(metas, key=lambda meta: meta["launch"]["place_in_block"])
        assert first["job_ids"] == second["job_ids"]
        assert first["segments"][0]["started_at"] < second["segments"][0]["started_at"]
        assert first["launch"]["concurrent_runs"] == 1


def test_watching_asks_the_controller_seldom_and_for_its_own_jobs(cluster, launch, held, monkeypatch, tmp_path):
    """Within four seconds a screen that changes five times a second asks once; it ends with the last job."""
    job = submit_one(launch, "watched", held)
    calls = tmp_path / "calls"
    for program in ("squeue", "sacct"):
        write_script(
            tmp_path / "bin" / program, f'echo {program} "$@" >> {calls}', f'exec {shutil.which(program)} "$@"'
        )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    shell = launch.process("status", str(launch.runs_dir / "watched"), "--watch", "0.2")
    wait_until(calls.exists)
    time.sleep(4)
    (asked,) = calls.read_text().splitlines()
    assert asked.startswith("squeue ")
    assert f"--jobs={job}" in asked
    assert "--me" not in asked
    cluster.cancel_all()
    shell.communicate(timeout=240)
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["squeue", "squeue", "sacct"]


def started_code(launch: Launch, name: str) -> Path:
    """Return the copy of adabatch that a sweep's jobs import."""
    (copy,) = (launch.runs_dir / name / ".launch" / "code").iterdir()
    return copy


def test_a_job_refuses_code_that_was_changed_after_the_submission(cluster, launch, held):
    """The copy that jobs import is checked by its hash; a new submission puts it right."""
    submit_one(launch, "changed", held)
    with open(started_code(launch, "changed") / "adabatch" / "resume.py", "a") as file:
        file.write("# changed\n")
    cluster.run("scontrol", "update", "PartitionName=low", "State=UP")
    wait_for_state(launch, "changed", "failed")
    logs = "".join(path.read_text() for path in (launch.runs_dir / "changed/.launch/logs").rglob("*.err"))
    assert "it must be the code frozen at the submission" in logs
    submit_one(launch, "changed")
    assert wait_for_state(launch, "changed", "done", "failed")["state"] == "done"
    (meta,) = launch.runs_dir.glob("changed/*/*/*/meta.json")
    assert "git_sha" in json.loads(meta.read_text())["segments"][0]
