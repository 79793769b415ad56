"""That arms answer in their turns, and that none is left when one of them fails."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.arm_process import ArmProcess
from benchmarks.machine import own_seconds
from benchmarks.measure import PROJECT_DIR, BenchmarkFailed, alternate, run_child

MODULE = "tests.benchmarks.made_up_arm"
BUSY_CHILD = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_end(processes: Sequence[int]) -> bool:
    """Say whether they do, within seconds: a kill returns before those killed are gone."""
    deadline = time.monotonic() + 10.0
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_alive, processes))


def start(running: ExitStack, name: str, **order: object) -> ArmProcess:
    return running.enter_context(ArmProcess(MODULE, {"name": name, **order}))


def test_arms_answer_in_turn_and_end():
    with ExitStack() as running:
        arms = {name: start(running, name) for name in "ab"}
        assert alternate({name: arm.measure_round for name, arm in arms.items()}, 2) == {"a": [1, 2], "b": [1, 2]}
        workers = [arm.facts["worker"] for arm in arms.values()]
        assert all(map(is_alive, workers))
    for name, arm in arms.items():
        assert arm.facts["name"] == name
        assert arm.details == [{"name": name}] * 2
        assert arm.seconds == [1.0, 2.0]
        assert all(cores is None or cores >= 0 for cores in arm.others_cores)
    assert all_end(workers)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"raises_in_round": 2}, r"made_up_arm ended with exit status 1:\n(?s:.*)this arm gave up"),
        ({"dies_in_round": 2}, r"made_up_arm ended with exit status -9:\nthis is no answer"),
    ],
)
def test_a_failure_in_the_middle_is_told_and_ends_all_arms(order: dict[str, int], said: str):
    workers = []

    def fail() -> None:
        with ExitStack() as running:
            arms = {"good": start(running, "good"), "bad": start(running, "bad", **order)}
            workers.extend(arm.facts["worker"] for arm in arms.values())
            alternate({name: arm.measure_round for name, arm in arms.items()}, 3)

    with pytest.raises(BenchmarkFailed, match=said):
        fail()
    assert len(workers) == 2
    assert all_end(workers)


def test_an_arm_that_cannot_be_built_says_why():
    with pytest.raises(BenchmarkFailed, match="this arm cannot be built"):
        ArmProcess(MODULE, {"broken": True})


def test_an_interrupt_ends_an_arm_in_its_round():
    with ExitStack() as running:
        arm = start(running, "interrupted", sleep_seconds=1000.0)
        threading.Timer(0.5, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            arm.measure_round()
        running.pop_all().__exit__(KeyboardInterrupt, None, None)
    assert all_end([arm.facts["worker"], arm.facts["process"]])


def test_arms_end_with_a_parent_that_is_killed():
    script = (
        "import os, signal; from benchmarks.arm_process import ArmProcess; "
        f"arm = ArmProcess('{MODULE}', {{'name': 'orphan'}}); "
        "print(arm.facts['process'], arm.facts['worker'], flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT_DIR)
    assert parent.returncode == -signal.SIGKILL
    process, worker = map(int, parent.stdout.split())
    os.kill(worker, signal.SIGKILL)  # unlike a loader's, it does not look after its parent
    assert all_end([process])


def test_an_arm_in_its_round_ends_with_its_workers_when_the_parent_is_killed():
    script = (
        "import os, signal, threading; from benchmarks.arm_process import ArmProcess; "
        f"arm = ArmProcess('{MODULE}', {{'name': 'orphan', 'sleep_seconds': 2.0}}); "
        "print(arm.facts['process'], arm.facts['worker'], flush=True); "
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start(); arm.measure_round()"
    )
    parent = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT_DIR)
    assert parent.returncode == -signal.SIGKILL
    assert all_end([int(process) for process in parent.stdout.split()])


def test_living_children_are_no_others():
    before = own_seconds()
    command = [sys.executable, "-c", BUSY_CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        while_it_lives = own_seconds() - before
        child.communicate(b"\n")
    assert while_it_lives >= 0.4
    assert own_seconds() - before >= 0.4


def test_the_reference_does_not_import_what_sets_our_process():
    script = "import sys, benchmarks.reference_loop; print('adabatch.training.worker' in sys.modules)"
    assert run_child(["-c", script]).output == "False\n"


def test_the_parent_of_arms_does_not_import_torch():
    script = "import sys, benchmarks.__main__; print('torch' in sys.modules)"
    assert run_child(["-c", script]).output == "False\n"
