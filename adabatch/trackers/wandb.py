"""wandb: one run there for each run here."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from adabatch.config import TrackerConfig
from adabatch.fields import require_choice
from adabatch.trackers.base import Tracker
from adabatch.trackers.labels import RunLabels

#: wandb's own default loses up to 15 s of rows when a process is killed.
_FLUSH_SECONDS = "1"
#: All that wandb knows: dryrun is an old name for offline, run for online.
_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


class WandbTracker(Tracker):
    """Mirrors a run in wandb.

    Decisions of the schedule are part of the epoch's row: rows of their own would need steps of their own, and a step
    is an epoch.

    Args:
        config: the keys of the tracker.
        run_config: logged as the wandb run's config.
        run_id: stable over restarts, so a resumed run keeps its id.
        labels: shown to people.
        folder: where offline runs are written.

    Raises:
        Exception: whatever wandb raises if the mode is unknown, or there is no login or no server.
    """

    def __init__(
        self, config: TrackerConfig, run_config: dict[str, Any], *, run_id: str, labels: RunLabels, folder: Path
    ) -> None:
        os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", _FLUSH_SECONDS)
        if not os.environ.get("WANDB_MODE"):
            os.environ.pop("WANDB_MODE", None)  # wandb refuses an empty one
        import wandb

        settings = wandb.Settings(
            init_timeout=15, silent=True, console="off", x_disable_stats=not config.system_metrics
        )
        self._decisions: list[list[float]] = []
        self._run: Any = wandb.init(
            mode=wandb_mode(config),  # type: ignore[arg-type]
            project=config.project,
            entity=config.entity,
            tags=config.tags or None,
            notes=config.notes,
            config=run_config,
            id=run_id,
            name=labels.name,
            group=labels.group,
            job_type=labels.job_type,
            dir=str(folder),
            resume="allow",
            settings=settings,
        )

    def decide(self, updates: int, samples: int, batch_size: int, learning_rate: float) -> None:
        self._decisions.append([updates, samples, batch_size, learning_rate])

    def log(self, row: dict[str, Any]) -> None:
        decided = {"decisions": self._decisions} if self._decisions else {}
        self._decisions = []
        # Without a commit a row is held back until the next one, and lost with the process.
        self._run.log({**row, **decided}, step=row["epoch"], commit=True)

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        self._run.summary.update(summary)
        self._run.finish(exit_code=exit_status)


def wandb_mode(config: TrackerConfig) -> str:
    """Return wandb's mode: the variable ``WANDB_MODE`` if it is set and not empty, else ``tracker.mode``.

    Raises:
        ConfigError: if wandb knows no such mode.
    """
    mode = os.environ.get("WANDB_MODE") or config.mode
    require_choice("WANDB_MODE", mode, _MODES)
    return mode


def wandb_run_id(config_hash: str, launch: dict[str, Any], seed: int) -> str:
    """Return an id that stays the same over restarts and differs from an equal run's in another sweep."""
    labels = [launch.get("cell"), launch.get("arm"), f"seed_{seed}"]
    place = "/".join([str(launch.get("sweep")), *(str(label) for label in labels if label)])
    return f"{config_hash}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
