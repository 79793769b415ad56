"""One run from its config to DONE or FAILED: the run directory, the ranks, the trainer, the outcome."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from adabatch.config import TrainConfig, config_hash, load_config, save_config, to_dict, with_measured
from adabatch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PREEMPTED,
    EXIT_USAGE,
    ConfigError,
    Preempted,
    RunFailure,
    is_out_of_memory,
)
from adabatch.local_ranks import run_local_ranks
from adabatch.rank_place import RankPlace, rank_place
from adabatch.run_dir import RunDir, write_json_atomic
from adabatch.stop_signals import StopRequest

_log = logging.getLogger("adabatch")


def default_run_dir(config: TrainConfig) -> Path:
    """Return a readable folder under ``runs/single`` that no config with other results shares."""
    schedule = config.schedule
    name = f"{schedule.kind}_{schedule.batch_size}-seed_{config.seed}-{config_hash(config)[:8]}"
    return Path("runs", "single", f"{config.dataset.name}-{config.network.name}", name)


def run_config(config: TrainConfig) -> int:
    """Train, continue or recognise as finished the run of a config; return the exit status.

    Raises:
        ConfigError: if the run directory holds another config, or another process trains in it.
    """
    run_dir = RunDir(config.run_dir or default_run_dir(config))
    saved = _matching_saved_config(config, run_dir)
    return _run(saved or config, run_dir)


def resume_run(path: Path | str) -> int:
    """Train or continue the run of a directory that holds a ``config.yaml``; return the exit status."""
    run_dir = RunDir(path)
    return _run(load_config(run_dir.config), run_dir)


def _matching_saved_config(config: TrainConfig, run_dir: RunDir) -> TrainConfig | None:
    """Return the directory's config if it has one. What was asked for as ``auto`` has become a value there."""
    if not run_dir.config.exists():
        return None
    saved = load_config(run_dir.config)
    asked = with_measured(config, saved)
    if config_hash(asked) != config_hash(saved):
        differences = "; ".join(_differences(to_dict(saved), to_dict(asked)))
        raise ConfigError(f"run_dir is {run_dir.path}; it holds a run with another config ({differences}).")
    return saved


def _differences(saved: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in saved | asked:
        before, now = saved.get(key), asked.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now and f"{prefix}{key}" not in ("run_dir", "dataset.root", "dataset.download"):
            yield f"{prefix}{key} is {before} there, {now} here"


def _run(config: TrainConfig, run_dir: RunDir) -> int:
    if run_dir.done.exists():
        print(f"{run_dir.path} is finished already: {run_dir.done.read_text(encoding='utf-8').strip()}")
        return EXIT_DONE
    place = rank_place(config.hardware, os.environ)
    if place is None and config.hardware.world_size > 1:
        _prepare(config, run_dir)
        return run_local_ranks(config.hardware, run_dir)
    if place is not None and place.rank > 0:
        return _execute(config, run_dir, place)
    _prepare(config, run_dir)
    with _exclusive(run_dir):
        return _execute(config, run_dir, place)


def _prepare(config: TrainConfig, run_dir: RunDir) -> None:
    try:
        run_dir.path.mkdir(parents=True, exist_ok=True)
        if not run_dir.config.exists():
            save_config(config, run_dir.config)
        run_dir.failed.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir is {run_dir.path}; it must be a folder that can be written ({error}).") from error


@contextmanager
def _exclusive(run_dir: RunDir) -> Iterator[None]:
    """Hold the run directory's lock; two processes that train in one folder would destroy each other's files."""
    with open(run_dir.path / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"run_dir is {run_dir.path}; another process is training in it.") from error
        yield


def _execute(config: TrainConfig, run_dir: RunDir, place: RankPlace | None) -> int:
    """Run the training as one rank and record how it ended."""
    is_main = place is None or place.rank == 0
    session = None
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest().installed())
        stack.enter_context(_logging(run_dir if is_main else None))
        try:
            from adabatch.session import Session

            session = Session(config, run_dir, place, stop)
            session.train()
            return session.finish("done", None, EXIT_DONE)
        except Preempted as stopped:
            _log.info("%s", stopped)
            interrupted = stopped.signal_name == "SIGINT"
            status = EXIT_INTERRUPTED if interrupted else EXIT_PREEMPTED
            return session.finish("preempted", str(stopped), status) if session else status
        except Exception as error:
            return _record_failure(error, session, run_dir, is_main)


def _record_failure(error: Exception, session: Any, run_dir: RunDir, is_main: bool) -> int:
    """Write down why a run ended. A full disk may refuse even that, and then the log says it."""
    cause, sentence = describe_failure(error, distributed=session is not None and session.world_size > 1)
    status = EXIT_USAGE if cause == "ConfigError" else EXIT_FAILED
    _log.error("%s: %s", cause, sentence)
    try:
        # The first rank to fail knows the cause; the others only see that it is gone.
        if cause != "RankFailed" or not run_dir.failed.exists():
            run_dir.mark_failed(cause, sentence, "".join(traceback.format_exception(error)))
        if session is not None:
            session.finish("failed", f"{cause}: {sentence}", status)
        elif is_main:
            write_json_atomic(run_dir.summary, {"state": "failed", "cause": f"{cause}: {sentence}"})
    except OSError as refused:
        _log.error("the failure could not be recorded: %s", refused)
    return status


def describe_failure(error: Exception, *, distributed: bool = False) -> tuple[str, str]:
    """Return the name of a failure's cause and a sentence for people.

    Args:
        distributed: whether a broken connection means that another rank is gone.
    """
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RunFailure | ConfigError):
        return type(error).__name__, str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "DiskFull", f"{error.filename or 'a file of the run'} could not be written: {error.strerror}"
    if is_out_of_memory(error):
        return "OutOfMemory", f"{text}. Set max_micro_batch_size to less, or to auto"
    if distributed and any(word in str(error) for word in ("Connection closed", "Connection reset", "NCCL", "gloo")):
        return "RankFailed", f"another rank is gone ({text})"
    return "Exception", f"{type(error).__name__}: {text}"


@contextmanager
def _logging(run_dir: RunDir | None) -> Iterator[None]:
    """Send the program's log lines to the run's ``log.txt`` and, where no progress bar stands, to stderr."""
    handlers: list[logging.Handler] = []
    if run_dir is not None:
        file: logging.Handler = logging.FileHandler(run_dir.log, encoding="utf-8")
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
