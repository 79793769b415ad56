"""From a config to its tracker."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

from adabatch.config import TrackerConfig, TrainConfig, to_dict
from adabatch.errors import ConfigError
from adabatch.plugins import Kind, load
from adabatch.plugins.arguments import checked_arguments
from adabatch.trackers.background import BackgroundTracker
from adabatch.trackers.base import Tracker
from adabatch.trackers.labels import RunLabels, run_labels
from adabatch.trackers.tensorboard import TensorBoardTracker
from adabatch.trackers.wandb import WandbTracker, wandb_mode, wandb_run_id


def check_tracker(config: TrackerConfig) -> None:
    """Raise ConfigError if the package that a tracker needs is not installed, or ``WANDB_MODE`` is unknown to wandb."""
    if config.kind == "wandb":
        wandb_mode(config)
    if config.kind == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "tracker is tensorboard, but the package tensorboard is not installed; install it by "
            "pip install tensorboard, or choose another tracker."
        )


def make_tracker(config: TrainConfig, meta: dict[str, Any], folder: Path) -> Tracker:
    """Return the tracker of a config.

    Args:
        meta: what ``meta.json`` holds.
        folder: the run directory.

    Raises:
        ConfigError: if the user's own tracker cannot be imported, is no tracker, or does not take its arguments.
    """
    tracker, labels = config.tracker, run_labels(config, meta)
    if tracker.path is not None:
        return _own_tracker(config, labels, meta, folder)
    if tracker.kind == "tensorboard":
        return BackgroundTracker("TensorBoard", lambda: TensorBoardTracker(folder / "tensorboard"))
    if tracker.kind == "wandb" and wandb_mode(tracker) != "disabled":
        run_id = wandb_run_id(meta["config_hash"], meta.get("launch") or {}, config.seed)
        run_config = {**to_dict(config), "adabatch": meta}
        return BackgroundTracker(
            "wandb", lambda: WandbTracker(tracker, run_config, run_id=run_id, labels=labels, folder=folder)
        )
    return Tracker()


def _own_tracker(config: TrainConfig, labels: RunLabels, meta: dict[str, Any], folder: Path) -> Tracker:
    path = str(config.tracker.path)
    plugin = load(Kind.TRACKER, path, Tracker)
    wanted = {"run_dir": folder, "config": to_dict(config), "meta": copy.deepcopy(meta), "name": labels.name}
    arguments = checked_arguments(plugin, "tracker", config.tracker.args, wanted)

    def build() -> Tracker:
        tracker = plugin(**arguments)
        if not isinstance(tracker, Tracker):
            raise TypeError(f"it returned a {type(tracker).__name__}; it must return an adabatch.Tracker")
        return tracker

    return BackgroundTracker(f"the tracker {path}", build)
