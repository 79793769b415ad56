"""Runs on a wandb server, as run directories."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adabatch.errors import ConfigError
from analysis.wandb_run import Origin, RunFolder, Unusable, read_trained, write_run

if TYPE_CHECKING:
    from wandb.apis.public import Api, Run

_log = logging.getLogger(__name__)
_RUNS_PER_PAGE = 200


def fetch_wandb(
    project: str,
    output: Path | str,
    *,
    timeout_seconds: int = 60,
    report: Callable[[str], None] = _log.warning,
) -> list[Path]:
    """Write a run directory for every run of a wandb project that this trainer made, and return their paths.

    All epochs are read, never a sample of them. A run that was fetched before and has not changed since is not asked
    for again, and its path is returned with the others; so an interrupted call is completed by repeating it.

    Args:
        project: ``ENTITY/PROJECT``.
        output: where run directories are written, at ``<sweep>/<cell>/<arm>/seed_<n>``; runs of no sweep at their id.
        timeout_seconds: for the answer to one request for runs, with wandb's own repeats after a refusal.
        report: told in a sentence about every run that is left out, and why; a warning in the log by default.

    Raises:
        ConfigError: if there is no such project, no API key, or one that the server refuses.
        ConnectionError: if the server cannot be reached or fails; the runs fetched so far are complete.
        OSError: if the disk is full or ``output`` cannot be written.

    Example:
        >>> fetch_wandb("my-team/adabatch", Path("runs/from_wandb"))
    """
    entity, _, name = project.partition("/")
    if not entity or not name or "/" in name:
        raise ConfigError(f"The project is {project}; it must be given as ENTITY/PROJECT.")
    run_folder = RunFolder(Path(output))
    api = _connect(project, entity, timeout_seconds)
    paths: list[Path] = []
    seen: set[str] = set()
    for run in _runs(api, project):
        if run.id in seen:  # a project that grows moves runs from one page to the next
            continue
        seen.add(run.id)
        try:
            paths.append(_fetch(run, project, run_folder))
        except Unusable as reason:
            report(f"the run {run.id} of {project} is left out: {reason}.")
    if not seen:
        report(f"the project {project} holds no run.")
    return paths


def _connect(project: str, entity: str, timeout_seconds: int) -> Api:
    import wandb

    with _translated_errors(project):
        return wandb.Api(overrides={"entity": entity}, timeout=timeout_seconds)


def _runs(api: Api, project: str) -> Iterator[Run]:
    """Yield the runs with their configs and summaries, which the client would otherwise ask for one by one."""
    with _translated_errors(project):
        runs = iter(api.runs(project, per_page=_RUNS_PER_PAGE, lazy=False))
    while True:
        with _translated_errors(project):
            run = next(runs, None)
        if run is None:
            return
        yield run


def _fetch(run: Run, project: str, run_folder: RunFolder) -> Path:
    trained = read_trained(run.config)
    origin = _origin(run)
    path = run_folder.place(origin, trained)
    if run_folder.holds(path, origin):
        return path
    with _translated_errors(project):
        history = list(run.scan_history(use_cache=False))
    last = max((row.get("_step", -1) for row in history), default=-1)
    if last < origin.version["last_step"]:
        raise Unusable(f"wandb gave its history up to step {last} of {origin.version['last_step']}")
    write_run(path, origin, trained, history, run.summary_metrics)
    return path


def _origin(run: Run) -> Origin:
    keys: dict[str, Any] = getattr(run, "history_keys", None) or {}
    heartbeat = getattr(run, "heartbeat_at", None)
    return Origin(
        run_id=run.id,
        name=run.name,
        entity=run.entity,
        project=run.project,
        url=run.url,
        state=run.state,
        version={
            "state": run.state,
            "last_step": keys.get("lastStep", -1),
            "lines": getattr(run, "history_line_count", None),
            "heartbeat_at": heartbeat,
        },
        alive_at=_seconds_since_1970(heartbeat),
    )


def _seconds_since_1970(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None


@contextmanager
def _translated_errors(project: str) -> Iterator[None]:
    """Turn what wandb's client raises into sentences. Some of its exceptions have no public name, hence all of them."""
    try:
        yield
    except Exception as error:
        import wandb

        status = _http_status(error)
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        if isinstance(error, wandb.errors.UsageError):
            sentence = "No wandb API key is given; it must be in WANDB_API_KEY or stored by wandb login."
            raise ConfigError(sentence) from error
        if status in (401, 403) or (isinstance(error, wandb.errors.AuthenticationError) and error.__cause__ is None):
            allowed = f"it must be one that may read {project}"
            raise ConfigError(f"The wandb API key is refused ({reason}); {allowed}.") from error
        if status == 404 or reason.startswith("Could not find project"):
            raise ConfigError(f"The project is {project}; it must be one that the server has ({reason}).") from error
        raise ConnectionError(f"wandb did not answer for {project}: {reason}. Repeat the call to go on.") from error


def _http_status(error: BaseException | None) -> int | None:
    """Return the status of a refused request, which wandb hides in the exception or in one behind it."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "http_status", None)
        if status:
            return int(status)
        error = error.__cause__
    return None
