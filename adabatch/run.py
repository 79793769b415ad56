"""One run from config to recorded outcome: the run directory, the ranks, the worker."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adabatch.config import (
    HASH_RULE,
    TrainConfig,
    config_hash,
    differences,
    load_config,
    matches_hash,
    require_known_ranks,
    save_config,
    to_dict,
    with_measured,
)
from adabatch.config.quick import quick_name
from adabatch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PREEMPTED,
    EXIT_SEGMENT_END,
    EXIT_USAGE,
    ConfigError,
    Preempted,
    SegmentEnd,
)
from adabatch.fields import Difference
from adabatch.files import user_path
from adabatch.measure.feasible import refuse_uncomputable
from adabatch.plugins import Kind
from adabatch.plugins.loading import OwnCodeError, one_line, own_frames, shown_frames
from adabatch.processes.collector import resume_collector
from adabatch.processes.local_ranks import refuse_several_nodes, run_local_ranks
from adabatch.processes.rank_place import RankPlace, rank_place
from adabatch.processes.segments import run_segments
from adabatch.processes.signals import StopRequest
from adabatch.reading import Unreadable, open_to_append, reason
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.other_config import refuse_other_config
from adabatch.rundir.outcome import Failure, clear_outcome, describe_failure, mark_failed, read_done, write_summary
from adabatch.rundir.states import State
from adabatch.shell.say import say
from adabatch.terminal import complain, counted
from adabatch.trackers.make import check_tracker

if TYPE_CHECKING:
    import torch

    from adabatch.training.worker import Worker

_log = logging.getLogger("adabatch")
#: Digits of the config hash in a folder's name.
_HASH_DIGITS = 8


def default_run_dir(config: TrainConfig) -> Path:
    """Return a readable folder under ``runs/single`` that no config with different results shares.

    A run that an earlier version started in a folder named by an earlier hash rule keeps that folder.
    """
    folder = Path("runs", "single", f"{config.dataset.name}-{config.network.name}")
    name = f"{config.schedule.kind}_{config.schedule.batch_size}-seed_{config.seed}"
    hashes = [config_hash(config, rule).rpartition("-")[2] for rule in range(1, HASH_RULE + 1)]
    suffix = quick_name("") if config.quick else ""
    folders = [folder / f"{name}-{digits[:_HASH_DIGITS]}{suffix}" for digits in hashes]
    for earlier in map(RunDir, folders[:-1]):
        if earlier.config.exists() and not _differences(config, load_config(earlier.config)):
            return earlier.path
    return folders[-1]


def run_config(config: TrainConfig) -> int:
    """Train or resume the run of a config, unless it is finished; return the exit status.

    Raises:
        ConfigError: if the run directory holds another config, or another process is training in it.
    """
    run_dir = RunDir(user_path(config.run_dir) if config.run_dir else default_run_dir(config))
    if config.quick:
        say(f"a quick look in {run_dir.path}: cut down to end within about a minute; it proves nothing")
    with _file_errors(run_dir):
        saved = _matching_saved_config(config, run_dir)
        return _run(saved or config, run_dir)


def resume_run(path: Path | str, num_ranks: int | None = None) -> int:
    """Train or resume the run of a directory that holds a ``config.yaml``; return the exit status.

    Args:
        num_ranks: how many ranks were started, of which this process is one: the run ends where another number trains
            it. None: whatever is found; where nobody started ranks, this process does.
    """
    run_dir = RunDir(path)
    with _file_errors(run_dir):
        return _run(load_config(run_dir.config), run_dir, num_ranks)


@contextmanager
def _file_errors(run_dir: RunDir) -> Iterator[None]:
    """Turn what the file system refuses before the training begins, or after it has ended, into ConfigError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, Unreadable) as error:
        file = getattr(error, "filename", None)
        what = f"{file}: {reason(error)}" if file else reason(error)
        raise ConfigError(f"run_dir is {run_dir.path}; it must be a folder that can be written ({what}).") from error


def _matching_saved_config(config: TrainConfig, run_dir: RunDir) -> TrainConfig | None:
    """Return the directory's config if it has one; ``auto`` is resolved to a value there."""
    if not run_dir.config.exists():
        return None
    saved = load_config(run_dir.config)
    refuse_other_config(run_dir.path, _differences(config, saved), "Give another one with run_dir=FOLDER")
    return saved


def _differences(asked: TrainConfig, saved: TrainConfig) -> list[Difference]:
    return list(differences(to_dict(with_measured(asked, saved)), to_dict(saved)))


def _run(config: TrainConfig, run_dir: RunDir, num_ranks: int | None = None) -> int:
    if run_dir.done.exists():
        say(f"{run_dir.path} is already finished: {read_done(run_dir)}")
        return EXIT_DONE
    _refuse_changed_config(config, run_dir)
    check_tracker(config.tracker)
    _check_own_code(config, run_dir)
    warnings = refuse_uncomputable(config)
    place = rank_place(config.hardware, os.environ)
    if num_ranks is not None:
        _require_started(config, num_ranks, place.world_size if place else 1)
    elif place is None and config.hardware.world_size > 1:
        refuse_several_nodes(config.hardware)
        if config.hardware.device == "cuda":
            from adabatch.training.device import require_gpus

            require_gpus(config.hardware)
        _prepare(config, run_dir)
        clear_outcome(run_dir)
        return run_segments(config, run_dir) if config.hardware.devices else run_local_ranks(config.hardware, run_dir)
    if place is not None and place.rank > 0:
        return _execute(config, run_dir, place, warnings)
    _prepare(config, run_dir)
    with run_dir.locked() as lock:
        if not lock.is_free:
            raise ConfigError(f"run_dir is {run_dir.path}; another process is training in it.")
        clear_outcome(run_dir)
        return _execute(config, run_dir, place, warnings)


def _require_started(config: TrainConfig, num_ranks: int, started: int) -> None:
    """Raise ConfigError unless as many ranks were started as a job was to start."""
    require_known_ranks(config.hardware, num_ranks)
    if started != num_ranks:
        raise ConfigError(
            f"this part of the run is for {counted(num_ranks, 'rank')}, and {started} started; both must be the same "
            "number."
        )


def _refuse_changed_config(config: TrainConfig, run_dir: RunDir) -> None:
    """Raise ConfigError if a run that has started has another config than it started with."""
    recorded = read_meta(run_dir).config_hash
    if recorded is not None and run_dir.has_started and matches_hash(config, recorded) is False:
        raise ConfigError(
            f"{run_dir.config} was changed after the run had started: its hash is {config_hash(config)}, and meta.json "
            f"says {recorded}; it must be as it was, or the run start in a new folder."
        )


def _check_own_code(config: TrainConfig, run_dir: RunDir) -> None:
    """Raise ConfigError for a plug-in that cannot be used, before anything is written."""
    if config.metrics or any(getattr(getattr(config, kind), "path", None) for kind in Kind):
        from adabatch.training.own_code import own_codes, refuse_other_code

        refuse_other_code(run_dir, own_codes(config))


def _prepare(config: TrainConfig, run_dir: RunDir) -> None:
    run_dir.path.mkdir(parents=True, exist_ok=True)
    if not run_dir.config.exists():
        save_config(config, run_dir.config)


def _execute(config: TrainConfig, run_dir: RunDir, place: RankPlace | None, warnings: Sequence[str]) -> int:
    """Run the training as one rank and record how it ended.

    Args:
        warnings: for the log.
    """
    is_main = place is None or place.rank == 0
    worker = None
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest().installed())
        stack.enter_context(_logging(run_dir if is_main else None))
        for sentence in warnings if is_main else ():
            _log.warning("%s", sentence)
        try:
            from adabatch.training.worker import Worker

            worker = Worker(config, run_dir, place, stop, _resolve_auto)
            resume_collector()
            worker.train()
            return worker.finish(State.DONE, None, EXIT_DONE)
        except Preempted as stopped:
            _log.info("%s", stopped)
            interrupted = stopped.signal_name == "SIGINT"
            status = EXIT_INTERRUPTED if interrupted else EXIT_PREEMPTED
            if worker:
                worker.finish(State.PREEMPTED, str(stopped), status)
            # Once the bar is closed: until then stderr is Rich's, which in its old versions is never a terminal.
            if is_main and sys.stderr.isatty():
                complain(f"{stopped} to {run_dir.path}. The same command goes on from there.")
            return status
        except SegmentEnd as ended:
            _log.info("%s", ended)
            return worker.finish(State.SEGMENT_END, str(ended), EXIT_SEGMENT_END) if worker else EXIT_SEGMENT_END
        except Exception as error:
            return _record_failure(error, worker, run_dir, is_main)


def _resolve_auto(config: TrainConfig, device: torch.device) -> tuple[TrainConfig, Sequence[str], dict[str, Any]]:
    from adabatch.measure.resolve_auto import resolve_auto

    resume_collector()
    resolved = resolve_auto([config], device)
    refuse_uncomputable(resolved.configs[0])
    return resolved.configs[0], resolved.reasons, resolved.measured


def _record_failure(error: Exception, worker: Worker | None, run_dir: RunDir, is_main: bool) -> int:
    """Record why a run failed; if the disk is too full even for that, log it."""
    failure = _described(error, distributed=worker is not None and worker.world_size > 1)
    # Before the worker is there, the call or the config is wrong; own code that raises later has failed.
    is_call = isinstance(error, ConfigError) and (worker is None or not isinstance(error, OwnCodeError))
    status = EXIT_USAGE if is_call else EXIT_FAILED
    _log.error("%s", failure.sentence if is_call else failure)
    try:
        # The first rank to fail knows the cause; the others only see that they lost it.
        if failure.cause != "RankFailed" or not run_dir.failed.exists():
            mark_failed(run_dir, failure)
        if worker is not None:
            worker.finish(State.FAILED, str(failure), status)
        elif is_main:
            write_summary(run_dir, State.FAILED, str(failure))
    except OSError as refused:
        _log.error("the failure could not be recorded: %s", refused)
    return status


def _described(error: Exception, distributed: bool) -> Failure:
    """Return the cause of a failure; one in the user's own code is told with the user's lines."""
    failure = describe_failure(error, distributed=distributed)
    if failure.cause == "Exception" and own_frames(error):
        last = own_frames(error)[-1]
        message = f"{one_line(error)} (your own code: {last.filename}, line {last.lineno}){shown_frames(error)}"
        return Failure(OwnCodeError.__name__, message, failure.traceback)
    return failure


class _LogFile(logging.StreamHandler[IO[str]]):
    """A log file that a full disk cuts short, and nothing more."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.TextIOWrapper(open_to_append(path), encoding="utf-8", errors="backslashreplace"))

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on without the line: the run's own files say what matters."""

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self.stream.close()
        super().close()


@contextmanager
def _logging(run_dir: RunDir | None) -> Iterator[None]:
    """Send log lines to the run's ``log.txt`` and, where there is no progress bar, to stderr."""
    handlers: list[logging.Handler] = []
    if run_dir is not None:
        file: logging.Handler = _LogFile(run_dir.log)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    console: logging.StreamHandler[IO[str]] = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.INFO if run_dir is not None and not sys.stderr.isatty() else logging.WARNING)
    handlers.append(console)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    for handler in handlers:
        _log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            _log.removeHandler(handler)
            handler.close()
