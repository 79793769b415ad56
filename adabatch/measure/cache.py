"""On-disk cache of measurements, keyed by everything that affects timing."""

from __future__ import annotations

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
from adabatch.reading import Unreadable, read_json, reason
from adabatch.rundir.provenance import code_version, gpu_versions, library_versions
from adabatch.training.own_code import own_codes

Measured = TypeVar("Measured")
_log = logging.getLogger(__name__)


def cache_key(config: TrainConfig, device: torch.device, **more: Any) -> dict[str, Any]:
    """Return everything that a measurement's times depend on, plus ``more``."""
    return {
        **micro_batch_keys(config),
        "device_model": device_model(device),
        "num_threads": torch.get_num_threads(),
        **library_versions(),
        **(gpu_versions() if device.type == "cuda" else {}),
        **code_version(),
        **{f"{kind}_code": code.identity for kind, code in own_codes(config).items()},
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
    """Return the cached value for a key; if there is none, measure and cache it.

    The cache is ``$XDG_CACHE_HOME/adabatch`` or ``~/.cache/adabatch``. An entry that is damaged is named in a warning
    and measured again; a full disk is not an error.

    Args:
        encode, decode: to plain values for JSON, and back.
        again: measure even if there is a cached value.
    """
    file = _file(key)
    if not again:
        try:
            return decode(_read(file))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("%s is damaged (%s); it is measured again", file, reason(error))
    found = measure()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        values = encode(found)
        write_json_atomic(file, {"checksum": _checksum(values), "values": values})
    except OSError as error:
        _log.warning("the measurement could not be cached: %s", error)
    return found


def _read(file: Path) -> dict[str, Any]:
    """Return the values of an entry.

    Raises:
        Unreadable, OSError, KeyError: if it cannot be read, or does not have its checksum.
    """
    entry = read_json(file)
    if not isinstance(entry, dict) or entry["checksum"] != _checksum(entry["values"]):
        raise Unreadable("it does not have its checksum")
    values: dict[str, Any] = entry["values"]
    return values


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _file(key: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "adabatch" / f"measured-{name}.json"
