"""Starts the ranks of a run on this machine, where neither torchrun nor SLURM did."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from adabatch.config import HardwareConfig
from adabatch.errors import EXIT_FAILED, ConfigError
from adabatch.run_dir import RunDir
from adabatch.stop_signals import StopRequest

#: A rank that survives another one notices within half a minute; after this long it is killed.
_PATIENCE_SECONDS = 50.0


def run_local_ranks(config: HardwareConfig, run_dir: RunDir) -> int:
    """Run one process per rank over a prepared run directory and return the run's exit status.

    Raises:
        ConfigError: if the run wants several nodes, which only SLURM or torchrun can start.
    """
    if config.num_nodes > 1:
        raise ConfigError(
            f"hardware.num_nodes is {config.num_nodes}; start one process per rank with SLURM (srun) or torchrun."
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(config.world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "adabatch.resume", str(run_dir.path)]
    with StopRequest().installed() as stop:
        ranks = [
            subprocess.Popen(command, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(config.world_size)
        ]
        statuses = _wait(ranks, stop)
    killed = [rank for rank, status in enumerate(statuses) if status < 0]
    if killed and not run_dir.done.exists() and not run_dir.failed.exists():
        name = signal.Signals(-statuses[killed[0]]).name
        run_dir.mark_failed("RankFailed", f"rank {killed[0]} was ended by {name}", "")
    return EXIT_FAILED if killed else max(statuses)


def _wait(ranks: list[subprocess.Popen[bytes]], stop: StopRequest) -> list[int]:
    """Wait for the ranks, hand a stop signal on to them, and kill those that outlive a failed one for too long."""
    passed_on = False
    failed_at: float | None = None
    while any(rank.poll() is None for rank in ranks):
        if stop.signal is not None and not passed_on:
            passed_on = True
            for rank in ranks:
                rank.send_signal(stop.signal)
        if failed_at is None and any(rank.poll() not in (None, 0) for rank in ranks):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > _PATIENCE_SECONDS:
            for rank in ranks:
                rank.kill()
        time.sleep(0.05)
    return [rank.wait() for rank in ranks]
