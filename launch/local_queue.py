"""This machine as a cluster: runs a queue of jobs with submitit's local executor, several concurrently."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import submitit

from adabatch.config import TrainConfig, load_config
from adabatch.files import write_json_atomic
from adabatch.processes.children import child_environment, module_command, safe_python
from adabatch.processes.signals import handling, is_under_nohup, leave_terminal
from adabatch.rundir.clock import file_system_now
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.rundir.process_identity import start_time
from launch.cluster_config import ClusterConfig
from launch.display import Display, PlainDisplay, make_display
from launch.frozen_code import FrozenCode
from launch.job import TrainJob
from launch.status import status_of

_POLL_SECONDS = 0.05
_SIGNAL_AGAIN_SECONDS = 2.0
#: The limit counts from the start of submitit's process; a job's own clock starts a few seconds later.
_EARLY_SECONDS = 5.0
#: Used if no time limit is set; submitit's local executor needs one.
_NO_LIMIT_MINUTES = 60 * 24 * 365
#: Queues that outlive this process and are not waited for.
_DETACHED: list[subprocess.Popen[bytes]] = []


class Stopped(Exception):
    """Ctrl-C, ``cancel``, or the end of the terminal."""


class LocalQueue:
    """Runs several jobs concurrently.

    Args:
        root: the sweep's folder; runs are shown by their path below it.
        groups: the run directories of each job.
        cluster: number of concurrent jobs, time limit, retries, setup commands.
        logs: folder for the jobs' logs.
        display: shows the progress.
        frozen: the code that the jobs import.
        submitted_at: runs cancelled after this are passed over, in seconds since 1970 by the clock of the file system;
            None for now.
    """

    def __init__(
        self,
        root: Path,
        groups: Sequence[Sequence[Path]],
        cluster: ClusterConfig,
        logs: Path,
        display: Display,
        frozen: FrozenCode,
        submitted_at: float | None = None,
    ) -> None:
        self._root = root
        self._frozen = frozen
        self._submitted_at = file_system_now(root) if submitted_at is None else submitted_at
        self._waiting = [list(group) for group in groups]
        self._cluster = cluster
        self._display = display
        self._active: dict[int, tuple[submitit.Job[Any], list[Path]]] = {}
        minutes = cluster.limit_minutes or _NO_LIMIT_MINUTES
        self._executor = submitit.LocalExecutor(folder=logs, max_num_timeout=10**6, python=safe_python())
        self._executor.update_parameters(
            timeout_min=minutes, signal_delay_s=cluster.signal_delay_s, setup=cluster.setup
        )
        self._limit_seconds = 60.0 * minutes - cluster.signal_delay_s - _EARLY_SECONDS

    def run(self) -> None:
        """Return when every job has ended.

        Raises:
            Stopped: after Ctrl-C, SIGTERM or SIGHUP, once the trainers have saved their state and ended.
        """
        with _stop_on_signals(), self._display:
            try:
                while self._waiting or self._active:
                    self._start_jobs()
                    time.sleep(_POLL_SECONDS)
                    self._collect()
            except BaseException:  # whatever ends the queue, no run goes on without it
                self._stop()
                raise

    def _leave_out_cancelled(self) -> None:
        """Drop the waiting runs that were cancelled since the submission."""
        cancellations = Journal(self._root).cancellations()
        cancelled = {self._root / name for name, at in cancellations.items() if at > self._submitted_at}
        groups = [[run for run in group if run not in cancelled] for group in self._waiting]
        self._waiting = [group for group in groups if group]

    def _start_jobs(self) -> None:
        if self._waiting and len(self._active) < self._cluster.jobs:
            self._leave_out_cancelled()
        free = [slot for slot in range(self._cluster.jobs) if slot not in self._active]
        for slot in free[: len(self._waiting)]:
            group = self._waiting.pop(0)
            config = load_config(RunDir(group[0]).config)
            job = TrainJob(
                [str(path.resolve()) for path in group],
                self._cluster.max_retries,
                self._limit_seconds,
                {**self._frozen.environment, **_visible_devices(config, slot)},
                in_turn=self._cluster.block is not None,
                code=str(self._frozen.adabatch),
            )
            # Children inherit what is ignored; at Ctrl-C or when the terminal ends, this process stops them gracefully.
            ignored = (signal.SIGINT, signal.SIGHUP)
            with handling(ignored, signal.SIG_IGN), _import_path(self._frozen.adabatch):
                self._active[slot] = (self._executor.submit(job), group)
            for path in group:
                self._display.started(path)

    def _collect(self) -> None:
        self._display.refresh()
        for slot, (job, group) in list(self._active.items()):
            if job.done():
                del self._active[slot]
                for status in status_of(group, self._root):
                    self._display.ended(status)

    def _stop(self) -> None:
        """Ask every job to stop, repeatedly until it has: at first it may not handle signals yet."""
        self._waiting.clear()
        self._display.stopping(sum(len(group) for _, group in self._active.values()))
        sent_at = -_SIGNAL_AGAIN_SECONDS
        while self._active:
            if time.monotonic() - sent_at >= _SIGNAL_AGAIN_SECONDS:
                sent_at = time.monotonic()
                for job, _ in self._active.values():
                    _send(int(job.job_id), signal.SIGTERM)
            time.sleep(_POLL_SECONDS)
            self._collect()


def _send(pid: int, number: signal.Signals) -> None:
    if start_time(pid) is not None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Within the block, raise Stopped on the first SIGINT, SIGTERM or SIGHUP; ignore later ones.

    Under nohup SIGHUP stays ignored.
    """
    numbers = [signal.SIGINT, signal.SIGTERM, *([] if is_under_nohup() else [signal.SIGHUP])]

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    with handling(numbers, stop):
        yield


@contextmanager
def _import_path(code: Path) -> Iterator[None]:
    """Let processes started within the block import this package from a frozen copy."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _visible_devices(config: TrainConfig, slot: int) -> dict[str, str]:
    """Return which GPUs the job in a slot sees: different ones per slot while there are enough."""
    if config.hardware.device != "cuda":
        return {}
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else _all_devices()
    count = config.hardware.num_devices
    if not devices:
        return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(count)))}
    chosen = dict.fromkeys(devices[(slot * count + rank) % len(devices)] for rank in range(count))
    return {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}


def _all_devices() -> list[str]:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(index) for index, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def start_detached(
    root: Path,
    groups: Sequence[Sequence[Path]],
    cluster: ClusterConfig,
    logs: Path,
    frozen: FrozenCode,
) -> int:
    """Start a queue that outlives this shell; return its process id. Its output goes to ``logs/queue.txt``."""
    logs.mkdir(parents=True, exist_ok=True)
    order = {
        "root": str(root.resolve()),
        "groups": [[str(path.resolve()) for path in group] for group in groups],
        "cluster": asdict(cluster),
        "logs": str(logs.resolve()),
        "code": str(frozen.adabatch),
        "environment": dict(frozen.environment),
        "submitted_at": file_system_now(root),
    }
    write_json_atomic(logs / "queue.json", order)
    with open(logs / "queue.txt", "ab") as output:
        process = subprocess.Popen(
            module_command("launch.local_queue", str((logs / "queue.json").resolve())),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(),
            start_new_session=True,
        )
    _DETACHED.append(process)
    return process.pid


def main(order_file: Path) -> None:
    """Run a queue that `start_detached` saved."""
    order = json.loads(order_file.read_text(encoding="utf-8"))
    groups = [[Path(path) for path in group] for group in order["groups"]]
    display = PlainDisplay(Path(order["root"]), sum(map(len, groups)))
    cluster, logs = ClusterConfig(**order["cluster"]), Path(order["logs"])
    frozen = FrozenCode(Path(order["code"]), order["environment"])
    queue = LocalQueue(Path(order["root"]), groups, cluster, logs, display, frozen, order["submitted_at"])
    try:
        queue.run()
    except Stopped as signal_name:
        print(f"stopped by {signal_name}; repeating the submission resumes the runs", flush=True)


def foreground_queue(
    root: Path,
    groups: Sequence[Sequence[Path]],
    cluster: ClusterConfig,
    logs: Path,
    frozen: FrozenCode,
) -> LocalQueue:
    """Return a queue that shows its progress on this terminal."""
    return LocalQueue(
        root, groups, cluster, logs, make_display(root, [path for group in groups for path in group]), frozen
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
