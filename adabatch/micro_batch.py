"""Measures on this device how large a micro-batch pays: ``max_micro_batch_size=auto``.

A larger micro-batch is faster a sample on a GPU until it is saturated or its memory full, and on a CPU often
slower, because the activations leave the caches. Nobody knows without measuring, so it is measured once; the
number then stands in the run's config, or in every config of a sweep.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adabatch.config import TrainConfig, load_config, to_dict
from adabatch.environment import cpu_model, library_versions
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, OutOfMemory
from adabatch.learner import Learner
from adabatch.run_dir import write_json_atomic
from adabatch.schedules import build_schedule, tabulate

#: The largest micro-batch whose throughput is within this of the best is taken: growth should stay physical.
TOLERANCE = 0.05
_SMALLEST = 8
_SECONDS_PER_SIZE = 0.4
_SECONDS_IN_ALL = 8.0
_MIN_REPETITIONS = 3
#: Measuring ends once throughput has fallen this far; larger sizes would cost seconds and not be taken.
_HOPELESS = 0.6
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MicroBatchMeasurement:
    """What was measured and chosen.

    Attributes:
        max_micro_batch_size: the choice, in samples on one device.
        reason: one sentence for people.
        rows: per size tried: ``micro_batch_size``, ``seconds`` of one forward and backward, ``samples_per_second``.
        update_seconds: of one optimizer step.
        out_of_memory_at: the smallest size that did not fit; None if all fitted.
        device_model: where it was measured.
    """

    max_micro_batch_size: int
    reason: str
    rows: list[dict[str, float]]
    update_seconds: float
    out_of_memory_at: int | None
    device_model: str


def largest_rank_share(config: TrainConfig) -> int:
    """Return the most samples that one rank gets in any update of the config's schedule."""
    data = config.dataset
    schedule = build_schedule(
        config.schedule, config.optimizer.learning_rate, data.num_train_samples, config.num_epochs
    )
    largest = max(row.batch_size for row in tabulate(schedule, config.num_epochs, data.num_train_samples, "keep"))
    return -(-largest // config.hardware.world_size)


def measure_max_micro_batch_size(config: TrainConfig, device: torch.device) -> MicroBatchMeasurement:
    """Measure forward and backward for growing micro-batches on ``device`` and choose the cap.

    A measurement of the same network, image shape, device, precision and versions is taken from the cache
    (``$XDG_CACHE_HOME/adabatch`` or ``~/.cache/adabatch``).

    Raises:
        OutOfMemory: if not even the smallest micro-batch fits.
    """
    largest = largest_rank_share(config)
    cache = _cache_file(config, device, largest)
    try:
        return MicroBatchMeasurement(**json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        measured = _measure(config, device, largest)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(cache, dataclasses.asdict(measured))
    except OSError as error:
        _log.warning("the measurement is not kept for other runs: %s", error)
    return measured


def _measure(config: TrainConfig, device: torch.device, largest: int) -> MicroBatchMeasurement:
    learner = Learner(dataclasses.replace(config, max_micro_batch_size=None), device)
    rows: list[dict[str, float]] = []
    out_of_memory_at = None
    started = time.perf_counter()
    for size in _sizes(largest):
        try:
            seconds = _seconds_of_one(learner, config, size)
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            _log.info("a micro-batch of %d does not fit: %s", size, str(error).splitlines()[0])
            torch.cuda.empty_cache()
            out_of_memory_at = size
            break
        rows.append({"micro_batch_size": size, "seconds": seconds, "samples_per_second": size / seconds})
        best = max(row["samples_per_second"] for row in rows)
        if rows[-1]["samples_per_second"] < _HOPELESS * best or time.perf_counter() - started > _SECONDS_IN_ALL:
            break
    if not rows:
        raise OutOfMemory(f"not even a micro-batch of {out_of_memory_at} fits on {device}; take a smaller network")
    best = max(row["samples_per_second"] for row in rows)
    good = [row for row in rows if row["samples_per_second"] >= (1 - TOLERANCE) * best]
    chosen = int(good[-1]["micro_batch_size"])
    reason = (
        f"{good[-1]['samples_per_second']:.0f} samples/s against at best {best:.0f} over "
        f"{int(rows[0]['micro_batch_size'])}..{int(rows[-1]['micro_batch_size'])}"
    )
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    return MicroBatchMeasurement(chosen, reason, rows, _update_seconds(learner), out_of_memory_at, model)


def _sizes(largest: int) -> list[int]:
    sizes = [1 << power for power in range(_SMALLEST.bit_length() - 1, largest.bit_length())]
    return sorted({min(size, largest) for size in [*sizes, largest]})


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds_of_one(learner: Learner, config: TrainConfig, size: int) -> float:
    """Return the median seconds of one forward and backward of ``size`` samples."""
    data, device = config.dataset, learner.device
    shape = (size, data.num_channels, data.image_size, data.image_size)
    layout = torch.channels_last if config.hardware.channels_last else torch.contiguous_format
    images = torch.randn(shape, device=device, dtype=learner.dtype).contiguous(memory_format=layout)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    durations: list[float] = []
    for repetition in range(1000):
        _synchronize(device)
        started = time.perf_counter()
        loss, _ = learner.forward(images, labels)
        learner.backward(loss, size)
        _synchronize(device)
        if repetition > 0:  # the first one pays for allocation and tuning
            durations.append(time.perf_counter() - started)
        if len(durations) >= _MIN_REPETITIONS and sum(durations) > _SECONDS_PER_SIZE:
            break
    return statistics.median(durations)


def _update_seconds(learner: Learner, repetitions: int = 10) -> float:
    """Return the median seconds of one optimizer step on the gradients that are there."""
    learner.set_learning_rate(0.0)
    durations = []
    for _ in range(repetitions):
        _synchronize(learner.device)
        started = time.perf_counter()
        learner.optimizer.step()
        _synchronize(learner.device)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def _cache_file(config: TrainConfig, device: torch.device, largest: int) -> Path:
    values = to_dict(config)
    hardware = {key: values["hardware"][key] for key in ("precision", "compile", "channels_last", "deterministic")}
    shape = {key: values["dataset"][key] for key in ("image_size", "num_channels", "num_classes")}
    key: dict[str, Any] = {
        "network": config.network.name,
        "batch_norm": (config.batch_norm, config.ghost_batch_size),
        "optimizer": config.optimizer.kind,
        "largest": largest,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
        "num_threads": torch.get_num_threads(),
        **library_versions(),
        **hardware,
        **shape,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "adabatch" / f"micro_batch-{name}.json"


def main(arguments: list[str] | None = None) -> int:
    """Measure for the config of a file, print or write the result as JSON, and return the exit status."""
    from adabatch.session import make_device

    parser = argparse.ArgumentParser(prog="python -m adabatch.micro_batch", description=__doc__)
    parser.add_argument("config", type=Path, help="the config.yaml of a run")
    parser.add_argument("output", type=Path, nargs="?", help="a JSON file; stdout if not given")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        measured = dataclasses.asdict(measure_max_micro_batch_size(config, make_device(config)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except OutOfMemory as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    if options.output:
        write_json_atomic(options.output, measured)
    else:
        print(json.dumps(measured, indent=2))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
