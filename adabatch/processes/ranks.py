"""The ranks of a run: their numbers, their collectives, and the detection of dead ranks."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist

from adabatch.errors import RankFailed
from adabatch.processes.rank_place import RankPlace

#: How long a rank may be silent before the others give up. Its heartbeat does not depend on its computation.
SILENCE_LIMIT_SECONDS = 30.0
_BEAT_SECONDS = 2.0
#: How long rank 0, which may serve the store, waits for the other ranks to leave.
_SHUTDOWN_SECONDS = 2.0
_SHUTDOWN_POLL_SECONDS = 0.01
#: Collectives wait while other ranks compute; the monitor detects dead ranks.
_COLLECTIVE_TIMEOUT = timedelta(hours=2)
_log = logging.getLogger(__name__)


class Ranks:
    """This process among the ranks of its run; the base class is for a single-process run.

    Collectives on host values use gloo, so they never wait for a GPU.
    """

    rank = 0
    world_size = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the only one that writes files and decides."""
        return self.rank == 0

    def max_over_ranks(self, value: int) -> int:
        """Return the largest of the ranks' values."""
        return value

    def sum_over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of the ranks' CPU tensors, on every rank; the inputs are unchanged."""
        return tensor.clone()

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return the ranks' tensors of equal shape and device, by rank."""
        return [tensor]

    def broadcast_buffers(self, module: torch.nn.Module) -> None:
        """Give every rank the main rank's buffers (BatchNorm's running statistics)."""

    def wait_for_all(self) -> None:
        """Return once every rank has called this."""

    def close(self) -> None:
        """Leave the group."""


class ProcessGroupRanks(Ranks):
    """One of several ranks, connected by torch.distributed.

    Args:
        place: from `rank_place`.
        on_failure: called in a thread when another rank has been silent for too long; must not return.
        start_timeout: how long the ranks may take to find each other.
    """

    def __init__(
        self,
        place: RankPlace,
        device: torch.device,
        on_failure: Callable[[RankFailed], None],
        start_timeout: timedelta,
    ) -> None:
        self.rank, self.world_size = place.rank, place.world_size
        _set_socket_interface(place.master_address)
        store = _connect(place, start_timeout, serves=True)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            store=dist.PrefixStore("group", store),
            rank=place.rank,
            world_size=place.world_size,
            timeout=_COLLECTIVE_TIMEOUT,
        )
        self._monitor = _RankMonitor(place, on_failure)
        self._monitor.start()

    def max_over_ranks(self, value: int) -> int:
        tensor = torch.tensor(value)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def sum_over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        gathered = [torch.empty_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(gathered, tensor)
        return gathered

    def broadcast_buffers(self, module: torch.nn.Module) -> None:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)

    def wait_for_all(self) -> None:
        dist.barrier()

    def close(self) -> None:
        self._monitor.stop()
        dist.destroy_process_group()


def _connect(place: RankPlace, timeout: timedelta, *, serves: bool) -> dist.Store:
    """Connect to the ranks' store; with ``serves``, rank 0 also serves it, unless torchrun's agent does."""
    store = dist.TCPStore(
        place.master_address,
        place.master_port,
        place.world_size if serves else None,
        is_master=serves and place.rank == 0 and not place.store_is_served,
        timeout=timeout,
    )
    return dist.PrefixStore(place.attempt, store)


def _set_socket_interface(master_address: str) -> None:
    """Make gloo use the loopback interface if the ranks connect there, instead of resolving this host's name."""
    if master_address in ("127.0.0.1", "localhost"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


class _RankMonitor:
    """Signals to the other ranks that this one is alive, and notices when one of them stops doing so.

    A collective with a dead rank can wait forever, on a GPU even in another thread's stream, so signs of life use a
    separate connection.
    """

    def __init__(self, place: RankPlace, on_failure: Callable[[RankFailed], None]) -> None:
        self._store = dist.PrefixStore("alive", _connect(place, timedelta(seconds=30), serves=False))
        self._rank, self._world_size = place.rank, place.world_size
        self._on_failure = on_failure
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rank-monitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sign off, so that a rank that ends normally is not taken for dead.

        Rank 0, with which the store ends, waits a moment for the others to sign off.
        """
        self._stopped.set()
        self._thread.join()
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while self._rank == 0 and time.monotonic() < deadline and not self._have_all_left():
            time.sleep(_SHUTDOWN_POLL_SECONDS)

    def _have_all_left(self) -> bool:
        try:
            return all(self._store.add(f"left-{rank}", 0) for rank in range(self._world_size))
        except (RuntimeError, dist.DistStoreError):  # the store was torchrun's, and is gone
            return True

    def _run(self) -> None:
        beats = [-1] * self._world_size
        heard = [time.monotonic()] * self._world_size
        try:
            while not self._stopped.wait(_BEAT_SECONDS):
                self._listen(beats, heard)
            self._store.add(f"left-{self._rank}", 1)
        except (RuntimeError, dist.DistStoreError) as error:
            if not self._stopped.is_set():
                _log.debug("the ranks' store is gone: %s", error)
                self._on_failure(RankFailed("rank 0 stopped responding"))

    def _listen(self, beats: list[int], heard: list[float]) -> None:
        self._store.add(f"beat-{self._rank}", 1)
        for other in range(self._world_size):
            count = self._store.add(f"beat-{other}", 0)
            if count != beats[other] or self._store.add(f"left-{other}", 0):
                beats[other], heard[other] = count, time.monotonic()
            elif time.monotonic() - heard[other] > SILENCE_LIMIT_SECONDS:
                self._on_failure(RankFailed(f"rank {other} gave no sign of life for {SILENCE_LIMIT_SECONDS:.0f} s"))
