"""Exceptions and exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
#: Of what commands tell about runs: none failed, and not all are done.
EXIT_INCOMPLETE = 3
#: EX_TEMPFAIL of sysexits.h: the run saved its state; start it again.
EXIT_PREEMPTED = 75
#: The run saved its state at a boundary, after which another number of ranks trains it.
EXIT_SEGMENT_END = 76
#: The shell's convention for a process ended by SIGINT.
EXIT_INTERRUPTED = 130


class ConfigError(ValueError):
    """The call or the config is wrong. The message is one sentence naming key, value and what is allowed."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Import within the block what only an extra of this package installs.

    Args:
        name: of the extra.
        what: what needs it, as the start of a sentence.

    Raises:
        ConfigError: if a package is missing; the sentence says how to install the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ConfigError(
            f"{what} needs the package {package}, which is not installed: pip install 'adabatch[{name}]'"
        ) from error


class RunFailure(Exception):
    """A run cannot continue. The class name is the cause recorded in ``FAILED`` and ``summary.json``."""


class DataError(RunFailure):
    """A file of the data set is truncated or corrupt; the message names it."""


class HelperDied(RunFailure):
    """A process that reads samples for the run was killed, or had no shared memory left."""


class NonFiniteLoss(RunFailure):
    """The training loss became NaN or infinite."""


class OutOfMemory(RunFailure):
    """A micro-batch does not fit into the device's memory."""


class DiskFull(RunFailure):
    """No space was left to write a file of the run directory."""


class CheckpointUnreadable(RunFailure):
    """Neither the last checkpoint nor the one before it can be read."""


class CheckpointMismatch(RunFailure):
    """The checkpoint belongs to another config or to a newer version of its format."""


class RankFailed(RunFailure):
    """Another rank of a distributed run died or stopped answering."""


#: Substrings of out-of-memory errors from CUDA, cuDNN, cuBLAS and the host; cuDNN finds no algorithm that fits.
_MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "unable to find an engine to execute this computation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    is_reported = isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_MESSAGES)
    return is_reported or isinstance(error, MemoryError)


class Preempted(Exception):
    """A signal asked the run to stop; its state is saved, and the same command resumes it."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"stopped by {signal_name} after saving a checkpoint")
        self.signal_name = signal_name


class SegmentEnd(Exception):
    """The next epoch is trained by another number of ranks than this process is one of; the state is saved.

    Args:
        ranks: their number in words, such as ``2 ranks``.
    """

    def __init__(self, epoch: int, ranks: str) -> None:
        super().__init__(f"epoch {epoch} is trained by {ranks}")
