"""On-disk cache of measurements, keyed by everything that affects timing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from adabatch.config import TrainConfig
from adabatch.config.keys import micro_batch_keys
from adabatch.files import write_json_atomic
from adabatch.measure.probe import device_model
from adabatch.rundir.provenance import code_version, gpu_versions, library_versions

Measured = TypeVar("Measured")
_log = logging.getLogger(__name__)


def cache_key(config: TrainConfig, device: torch.device, **more: Any) -> dict[str, Any]:
    """Return all that a measurement's times depend on, with what the caller adds."""
    return {
        **micro_batch_keys(config),
        "device_model": device_model(device),
        "num_threads": torch.get_num_threads(),
        **library_versions(),
        **(gpu_versions() if device.type == "cuda" else {}),
        **code_version(),
        **more,
    }


def measured_once(
    key: dict[str, Any],
    measure: Callable[[], Measured],
    encode: Callable[[Measured], dict[str, Any]],
    decode: Callable[[dict[str, Any]], Measured],
    *,
    again: bool,
) -> Measured:
    """Return what is kept under a key; else measure it and keep it.

    It lies in ``$XDG_CACHE_HOME/adabatch`` or ``~/.cache/adabatch``. What cannot be read, or was written by a version
    that kept something else, is measured anew; a full disk is no failure.

    Args:
        encode, decode: to plain values for JSON, and back.
        again: whether to measure although something is kept.
    """
    file = _file(key)
    if not again:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            return decode(json.loads(file.read_text(encoding="utf-8")))
    found = measure()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(file, encode(found))
    except OSError as error:
        _log.warning("the measurement could not be cached: %s", error)
    return found


def _file(key: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "adabatch" / f"measured-{name}.json"
