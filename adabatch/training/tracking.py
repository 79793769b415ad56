"""Trackers mirror a run's numbers elsewhere. The run directory stays authoritative; a tracker never fails a run."""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adabatch.config import TrackerConfig

_log = logging.getLogger(__name__)
#: How long the end of a run waits for a tracker that has not finished uploading.
_SHUTDOWN_SECONDS = 20.0
#: wandb's own default loses up to 15 s of rows when a process is killed.
_FLUSH_SECONDS = "1"


class Tracker:
    """Receives a run's config, rows and summary; this base class ignores them."""

    def log(self, row: dict[str, Any]) -> None:
        """Log one row of ``epochs.csv``; a repeated epoch replaces the earlier one."""

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        """Log the final numbers and close the connection."""


class WandbTracker(Tracker):
    """Mirrors a run in wandb, from its own thread: a slow or unreachable server does not delay the run.

    Args:
        config: mode, project, entity.
        run_config: logged as the wandb run's config.
        run_id: stable over restarts, so a resumed run keeps its id.
        name: shown to people.
        group: the sweep.
        job_type: the arm.
        folder: where offline runs are written.
    """

    def __init__(
        self,
        config: TrackerConfig,
        run_config: dict[str, Any],
        *,
        run_id: str,
        name: str,
        group: str | None,
        job_type: str | None,
        folder: Path,
    ) -> None:
        os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", _FLUSH_SECONDS)
        self._arguments: dict[str, Any] = {
            "mode": config.mode,
            "project": config.project,
            "entity": config.entity,
            "config": run_config,
            "id": run_id,
            "name": name,
            "group": group,
            "job_type": job_type,
            "dir": str(folder),
            "resume": "allow",
        }
        self._run: Any = None
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
        self._thread.start()

    def log(self, row: dict[str, Any]) -> None:
        # Without a commit a row is held back until the next one, and lost with the process.
        self._calls.put(lambda: self._run.log(row, step=row["epoch"], commit=True))

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        self._calls.put(lambda: self._run.summary.update(summary))
        self._calls.put(lambda: self._run.finish(exit_code=exit_status))
        self._calls.put(None)
        self._thread.join(_SHUTDOWN_SECONDS)
        if self._thread.is_alive():
            _log.warning(
                "wandb did not finish uploading within %.0f s; the run directory has it all", _SHUTDOWN_SECONDS
            )

    def _serve(self) -> None:
        try:
            import wandb

            settings = wandb.Settings(init_timeout=15, silent=True, console="off", x_disable_stats=True)
            self._run = wandb.init(**self._arguments, settings=settings)
            while (call := self._calls.get()) is not None:
                call()
        except Exception as error:  # an error of the tracker must not reach the training
            _log.warning("wandb is disabled for this run: %s", str(error).splitlines()[0] if str(error) else error)


def make_tracker(config: TrackerConfig, run_config: dict[str, Any], meta: dict[str, Any], folder: Path) -> Tracker:
    """Return the tracker of a config.

    Args:
        run_config: the run's config as nested plain values.
        meta: what ``meta.json`` holds; logged under the config's key ``adabatch``.
        folder: the run directory.
    """
    if config.kind == "none":
        return Tracker()
    launch = meta.get("launch", {})
    labels = [launch.get(key) for key in ("cell", "arm")]
    name = "/".join(str(label) for label in (*labels, f"seed_{run_config['seed']}") if label)
    return WandbTracker(
        config,
        {**run_config, "adabatch": meta},
        run_id=_run_id(meta["config_hash"], f"{launch.get('sweep')}/{name}"),
        name=name,
        group=launch.get("sweep"),
        job_type=launch.get("arm"),
        folder=folder,
    )


def _run_id(config_hash: str, place: str) -> str:
    """Return an id that stays the same over restarts and differs from an equal run's in another sweep."""
    return f"{config_hash}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
