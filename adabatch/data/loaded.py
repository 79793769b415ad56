"""Samples that loader workers read or compute on demand, and the workers."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from adabatch.data.order import derived_seed
from adabatch.errors import EXIT_FAILED, ConfigError, DataError, HelperDied
from adabatch.plugins import OwnCodeError

#: Samples that a worker reads at a time, so that neither its memory nor its latency grows with the batch.
_PIECE_SIZE = 64
#: How often a worker checks whether the trainer is still running.
_WATCH_SECONDS = 2.0

#: A request to a worker: a sample's index and the seed of the random numbers that are drawn for it.
_Key = tuple[int, int]
_Piece = tuple[torch.Tensor, torch.Tensor]


class Samples(Protocol):
    """Labelled samples that are read one at a time; workers get a pickled copy."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a sample, of the same shape and dtype for every index, and its label.

        Random numbers come from the global generators of torch, NumPy and Python.

        Raises:
            DataError: if the sample cannot be read.
        """


class Chosen:
    """Some of other samples, by their indices."""

    def __init__(self, samples: Samples, indices: torch.Tensor) -> None:
        self._samples = samples
        self._indices = indices.numpy()

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a sample and its label; see `Samples.read`."""
        return self._samples.read(int(self._indices[index]))


def chosen(samples: Samples, indices: torch.Tensor | None) -> Samples:
    """Return the samples at ``indices``; all of them for None."""
    return samples if indices is None else Chosen(samples, indices)


class LoadedSource:
    """Samples read on demand; see `adabatch.data.source.Source`.

    What a training sample looks like depends on the run's seed, the epoch and its index alone, not on batches, workers
    or what was read before.

    Args:
        samples: what is read.
        finish: from read samples (n, ...) on the device to what `iterate` yields.
        device: of the samples that `iterate` yields.
        num_workers: processes that read; 0: this one does.
        is_random: whether samples may differ from epoch to epoch; otherwise every one is always read with one seed.
    """

    def __init__(
        self,
        samples: Samples,
        finish: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device,
        num_workers: int,
        is_random: bool,
    ) -> None:
        self._device = device
        self._finish = finish
        self._is_random = is_random
        self._samples = samples
        self._pieces: list[list[_Key]] = []
        # One loader for all epochs: workers are started once and asked for different pieces in each epoch.
        self._loader: DataLoader[_Piece] = DataLoader(
            _Pieced(samples),
            batch_sampler=_Pieces(self._pieces),
            collate_fn=_identity_collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # otherwise it would draw from the global one, which dropout uses
            multiprocessing_context=_worker_context() if num_workers else None,
            worker_init_fn=functools.partial(_start_worker, os.getpid()) if num_workers else None,
        )
        # If garbage-collected in a cycle with its queues, a loader cannot stop its workers, and waits ten seconds for
        # each. The finalizer keeps it alive beyond that cycle, after which it shuts down normally.
        weakref.finalize(self, lambda _: None, self._loader)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def num_samples(self) -> int:
        """The number of samples."""
        return len(self._samples)

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield samples and labels for each batch of indices; see `Source.iterate`."""
        pieces = [batch.split(_PIECE_SIZE) for batch in batches]
        self._pieces[:] = [self._keys(piece, seed, epoch) for parts in pieces for piece in parts]
        try:
            loaded = iter(self._loader)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"dataset.num_workers is {self._loader.num_workers}; it must be 0 for samples that cannot be sent to"
                f" another process ({error})."
            ) from error
        for parts in pieces:
            try:
                read = [next(loaded) for _ in parts]
            except RuntimeError as error:
                death = _death(error, getattr(loaded, "_workers", ()))
                if death is None:
                    raise
                raise death from error
            yield self._assemble([_checked(piece) for piece in read])

    def _keys(self, indices: torch.Tensor, seed: int, epoch: int) -> list[_Key]:
        if not self._is_random:
            return [(index, 0) for index in indices.tolist()]
        return [(index, derived_seed("augmentation", seed, epoch, index)) for index in indices.tolist()]

    def _assemble(self, pieces: list[_Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one batch on the device; copies overlap with the device's computation."""
        if self._stream is None:
            return self._join(pieces)
        with torch.cuda.stream(self._stream):
            samples, labels = self._join(pieces)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._stream)
        samples.record_stream(computing)
        labels.record_stream(computing)
        return samples, labels

    def _join(self, pieces: list[_Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        samples = torch.cat([samples.to(self._device, non_blocking=True) for samples, _ in pieces])
        labels = torch.cat([labels.to(self._device, non_blocking=True) for _, labels in pieces])
        return self._finish(samples), labels


def _death(error: RuntimeError, workers: Sequence[BaseProcess]) -> HelperDied | None:
    """Return what ended a worker, which torch does not know of workers that this process did not fork itself.

    Args:
        error: what torch raised.

    Returns:
        None if no worker died.
    """
    text = str(error)
    if not ("DataLoader worker" in text or "shared memory" in text):
        return None
    killed = {-worker.exitcode for worker in workers if worker.exitcode is not None and worker.exitcode < 0}
    if signal.SIGBUS in killed or "shared memory" in text or "Bus error" in text:
        return HelperDied(
            "a loader worker had no shared memory left; make /dev/shm larger (docker run --shm-size), or lower "
            "dataset.num_workers"
        )
    if signal.SIGKILL in killed:
        return HelperDied(
            "a loader worker was killed by SIGKILL; if nobody did it, the host's memory was too small: lower "
            "dataset.num_workers"
        )
    known = [signal.Signals(number).name for number in sorted(killed) if number in set(signal.Signals)]
    return HelperDied(f"a loader worker was killed by {known[0]}" if known else "a loader worker ended without a word")


class _Pieces:
    """A batch sampler over a list that changes between epochs."""

    def __init__(self, pieces: list[list[_Key]]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[list[_Key]]:
        return iter(list(self._pieces))

    def __len__(self) -> int:
        return len(self._pieces)


class _Refusal:
    """An error of a sample on its way from a worker, with the traceback there as text.

    It is returned, not raised, because raising in a worker would bury the sentence in a traceback.
    """

    def __init__(self, error: DataError | OwnCodeError) -> None:
        self.kind = type(error)
        self.sentence = str(error)
        cause = error.__cause__
        self.trace = "".join(traceback.format_exception(cause)) if cause is not None else ""
        self.original = error if get_worker_info() is None else None

    def error(self) -> DataError | OwnCodeError:
        if self.original is not None:
            return self.original
        error = self.kind(self.sentence)
        error.__cause__ = RuntimeError(f"in a loader worker:\n{self.trace}") if self.trace else None
        return error


class _Pieced(TorchDataset[_Piece]):
    """Reads samples in pieces, each sample with random numbers of its own."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitems__(self, keys: Sequence[_Key]) -> _Piece | _Refusal:
        """Return samples, stacked, and labels, int64; or why one of them cannot be read."""
        try:
            with _kept_generators():
                read = [self._read(index, seed) for index, seed in keys]
        except (DataError, OwnCodeError) as error:
            return _Refusal(error)
        return torch.stack([sample for sample, _ in read]), torch.tensor([label for _, label in read])

    def _read(self, index: int, seed: int) -> tuple[torch.Tensor, int]:
        _seed_generators(seed)
        return self._samples.read(index)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global CPU generators of torch, NumPy and Python for the block, and restore them after it."""
    with _kept_generators():
        _seed_generators(seed)
        yield


@contextlib.contextmanager
def _kept_generators() -> Iterator[None]:
    """Restore the global CPU generators after the block; too slow to be done for every sample."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _seed_generators(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def _identity_collate(piece: Any) -> Any:
    return piece


def _checked(piece: _Piece | _Refusal) -> _Piece:
    if isinstance(piece, _Refusal):
        raise piece.error()
    return piece


def _worker_context() -> BaseContext:
    """Return a multiprocessing context that does not fork this process, which has threads and maybe a GPU."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start_worker(trainer_pid: int, worker: int) -> None:
    _ignore_stop_signals()
    threading.Thread(target=_exit_after, args=(trainer_pid,), daemon=True).start()


def _exit_after(trainer_pid: int) -> None:
    """End this worker once the trainer is gone.

    The worker's parent, the fork server, would not: it lives as long as its workers.
    """
    while True:
        try:
            os.kill(trainer_pid, 0)
        except ProcessLookupError:
            os._exit(EXIT_FAILED)
        time.sleep(_WATCH_SECONDS)


def _ignore_stop_signals() -> None:
    """Ignore the signals that a scheduler sends to all processes: the trainer needs its workers until it has saved.

    A second SIGTERM ends the worker; the loader sends it to workers that do not exit on their own.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
