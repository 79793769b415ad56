"""Measurements are kept between commands: for the same computation on the same device, nobody waits twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch

from adabatch.config import TrainConfig, to_dict
from adabatch.environment import library_versions
from adabatch.measure.probe import device_model
from adabatch.run_dir import write_json_atomic

_HARDWARE = ("precision", "compile", "channels_last", "deterministic")
_DATASET = ("name", "image_size", "num_channels", "num_classes", "crop_padding", "horizontal_flip")
_log = logging.getLogger(__name__)


def cache_key(config: TrainConfig, device: torch.device, **more: Any) -> dict[str, Any]:
    """Return all that a measurement's times depend on, with what the caller adds."""
    values = to_dict(config)
    return {
        "network": config.network.name,
        "batch_norm": (config.batch_norm, config.ghost_batch_size),
        "optimizer": config.optimizer.kind,
        "dataset": {key: values["dataset"][key] for key in _DATASET},
        "hardware": {key: values["hardware"][key] for key in _HARDWARE},
        "device": device_model(device),
        "num_threads": torch.get_num_threads(),
        **library_versions(),
        **more,
    }


def read_cached(key: dict[str, Any]) -> dict[str, Any] | None:
    """Return what was kept under a key; None if there is nothing, or nothing readable."""
    try:
        values = json.loads(_file(key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def keep_cached(key: dict[str, Any], values: dict[str, Any]) -> None:
    """Keep values under a key in ``$XDG_CACHE_HOME/adabatch`` or ``~/.cache/adabatch``; a full disk is no failure."""
    file = _file(key)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(file, values)
    except OSError as error:
        _log.warning("the measurement is not kept for other runs: %s", error)


def _file(key: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "adabatch" / f"measured-{name}.json"
