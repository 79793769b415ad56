"""Starts the ranks of a run on this machine if neither torchrun nor SLURM did.

torchrun is not used: Ctrl-C must let the ranks save their state, a second Ctrl-C must end them at once, and a rank that
dies must leave its cause behind.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from types import FrameType

from adabatch.config import HardwareConfig
from adabatch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PREEMPTED,
    EXIT_SEGMENT_END,
    ConfigError,
)
from adabatch.processes.children import SIGNALS_ORPHANS, child_environment, module_command, signal_on_parent_death
from adabatch.processes.signals import STOP_SIGNALS, StopRequest
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import Failure, mark_failed, withdraw_failure, write_summary
from adabatch.rundir.states import State

#: A rank notices within half a minute that another one died; one still running after this long is killed.
_PATIENCE_SECONDS = 50.0
#: Grace period once a rank died during shutdown; the others have nothing left to save.
_CUT_SHORT_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.05
#: Exit statuses of a rank that a stop signal ended before it could handle it, instead of saving and exiting.
_CUT_SHORT = (*(-number for number in STOP_SIGNALS), EXIT_INTERRUPTED)


def run_local_ranks(config: HardwareConfig, run_dir: RunDir) -> int:
    """Run one process per rank over a prepared run directory and return the run's exit status.

    Raises:
        ConfigError: if the run wants several nodes, which only SLURM or torchrun can start.
        KeyboardInterrupt: after a second SIGINT, once the ranks have ended.
    """
    refuse_several_nodes(config)
    stop = RanksStopRequest()
    with stop.installed():
        return run_ranks(config, run_dir, stop)


def refuse_several_nodes(config: HardwareConfig) -> None:
    """Raise ConfigError if a run wants several nodes, which only SLURM or torchrun can start."""
    if config.num_nodes > 1:
        raise ConfigError(
            f"hardware.num_nodes is {config.num_nodes}; start one process per rank with SLURM (srun) or torchrun."
        )


def run_ranks(config: HardwareConfig, run_dir: RunDir, stop: RanksStopRequest) -> int:
    """Run the ranks while the signals of ``stop`` are handled; see `run_local_ranks`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(config.world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"TORCHELASTIC_USE_AGENT_STORE": "False"}  # the store of an outer torchrun serves only its own ranks
    command = module_command("adabatch.resume", str(run_dir.path))
    ranks = _LocalRanks(
        [
            _start(command, {**child_environment(), **common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(config.world_size)
        ],
        stop,
        run_dir,
    )
    statuses = ranks.wait()
    if ranks.were_cut_short:
        return record_stop(stop, run_dir)
    killed = [rank for rank, status in enumerate(statuses) if status < 0]
    if killed and not run_dir.done.exists() and not run_dir.failed.exists():
        name = signal.Signals(-statuses[killed[0]]).name
        failure = Failure("RankFailed", f"rank {killed[0]} was killed by {name}")
        mark_failed(run_dir, failure)
        write_summary(run_dir, State.FAILED, str(failure))
    return EXIT_FAILED if killed else max(statuses)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a rank in its own session, so it gets Ctrl-C only once, from this process; a second would end it at once.

    This needs a signal on the parent's death; without it, the process group must end the rank. That signal is SIGKILL,
    although a single-process run would save: ranks that are stopped one by one may wait for each other in a
    collective, where they do not handle signals.
    """
    return subprocess.Popen(
        command, env=environment, start_new_session=SIGNALS_ORPHANS, preexec_fn=signal_on_parent_death(signal.SIGKILL)
    )


class RanksStopRequest(StopRequest):
    """Also remembers a second SIGINT, which interrupts the ranks at once instead of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.is_at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            self.is_at_once = True
        else:
            super()._handle(number, frame)


class _LocalRanks:
    """The processes of a run's ranks.

    Args:
        processes: by rank.
        stop: the signals to forward to them.
        run_dir: where they record a failure.

    Attributes:
        were_cut_short: whether a stop ended ranks before they could save, with no failure before the stop.
    """

    def __init__(self, processes: list[subprocess.Popen[bytes]], stop: RanksStopRequest, run_dir: RunDir) -> None:
        self._processes = processes
        self._stop = stop
        self._run_dir = run_dir
        self._num_forwarded = 0
        self._failed_before_stop = False
        self.were_cut_short = False

    @property
    def _are_interrupted(self) -> bool:
        """Whether the ranks were asked to end at once."""
        return self._num_forwarded > 1

    def wait(self) -> list[int]:
        """Wait for the ranks, forward signals to them, and kill those that outlive another one for too long.

        Returns:
            exit statuses by rank.
        """
        ending_since: float | None = None
        while any(process.poll() is None for process in self._processes):
            self._forward_signals()
            self._check_cut_short()
            if ending_since is None and (self._are_interrupted or self._has_failed()):
                ending_since = time.monotonic()
            cannot_save = self._are_interrupted or self.were_cut_short
            patience = _CUT_SHORT_PATIENCE_SECONDS if cannot_save else _PATIENCE_SECONDS
            if ending_since is not None and time.monotonic() - ending_since > patience:
                for process in self._processes:
                    process.kill()
            time.sleep(_POLL_SECONDS)
        self._check_cut_short()
        return [process.wait() for process in self._processes]

    def _check_cut_short(self) -> None:
        """Set ``were_cut_short`` once it is true: a rank may later record the loss of another one as its failure."""
        if self._num_forwarded > 0 and not self._failed_before_stop and not self.were_cut_short:
            statuses = [process.poll() for process in self._processes]
            # Python interrupted by SIGINT during startup exits like a failure, but without a record.
            is_unrecorded = EXIT_FAILED in statuses and not self._run_dir.failed.exists()
            self.were_cut_short = (
                self._are_interrupted
                or (self._stop.signal == signal.SIGINT and is_unrecorded)
                or any(status in _CUT_SHORT for status in statuses)
            )

    def _forward_signals(self) -> None:
        """Send the ranks the next signal; one at a time, since two pending signals of a kind merge into one."""
        received = [self._stop.signal] if self._stop.signal is not None else []
        received += [signal.SIGINT] if self._stop.is_at_once else []
        if self._num_forwarded == len(received):
            return
        if self._num_forwarded == 0:
            self._failed_before_stop = self._has_failed()
        for process in self._processes:
            process.send_signal(received[self._num_forwarded])
        self._num_forwarded += 1

    def _has_failed(self) -> bool:
        """Whether a rank has ended with anything but success."""
        return any(process.poll() not in (None, EXIT_DONE, EXIT_SEGMENT_END) for process in self._processes)


def record_stop(stop: RanksStopRequest, run_dir: RunDir) -> int:
    """Leave the run so that it resumes when started again, and return its exit status."""
    # A rank that lost another one to the stop has recorded a failure.
    withdraw_failure(run_dir)
    if stop.is_at_once:
        raise KeyboardInterrupt
    if run_dir.done.exists():
        return EXIT_DONE
    return EXIT_INTERRUPTED if stop.signal == signal.SIGINT else EXIT_PREEMPTED
