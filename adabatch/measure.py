"""Measures what runs that differ in their schedules alone need on this device: ``python -m adabatch.measure``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adabatch.config import TrainConfig, load_config
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, OutOfMemory
from adabatch.forecast import sizes_to_measure
from adabatch.measurement import Measurement
from adabatch.probe import Probe
from adabatch.probe_cache import cache_key, keep_cached, read_cached
from adabatch.run_dir import write_json_atomic
from adabatch.session import make_device
from adabatch.settle import settle


def measure_sizes(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Measurement:
    """Time, or take from the cache, the micro-batches that the configs' runs will compute.

    Args:
        configs: equal but for their schedules, without ``auto``.
        device: set up by `adabatch.session.make_device`.
        again: whether to measure although an earlier measurement is in the cache.

    Raises:
        OutOfMemory: if one of the sizes does not fit.
    """
    sizes = sizes_to_measure(configs)
    key = cache_key(configs[0], device, sizes=sizes)
    kept = None if again else read_cached(key)
    measurement = Measurement.from_dict(kept) if kept else Probe(configs[0], device).measure(sizes)
    if measurement.out_of_memory_at is not None:
        raise OutOfMemory(
            f"a micro-batch of {measurement.out_of_memory_at} does not fit on {device}; set max_micro_batch_size to "
            "less, or to auto"
        )
    keep_cached(key, measurement.as_dict())
    return measurement


def _measure(configs: Sequence[TrainConfig], options: argparse.Namespace) -> dict[str, Any]:
    device = make_device(configs[0])
    settled = settle(configs, device, again=options.again)
    first = settled.configs[0]
    answer: dict[str, Any] = {
        "max_micro_batch_size": first.max_micro_batch_size,
        "compile": first.hardware.compile,
        "reasons": settled.reasons,
    }
    if options.times:
        answer["measurement"] = measure_sizes(settled.configs, device, again=options.again).as_dict()
    return answer


def main(arguments: list[str] | None = None) -> int:
    """Measure for the configs of some files, print or write the result as JSON, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m adabatch.measure", description=__doc__)
    parser.add_argument("configs", type=Path, nargs="+", metavar="CONFIG", help="the config.yaml of a run")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a JSON file; stdout if not given")
    parser.add_argument("--times", action="store_true", help="also of the micro-batches that the runs will compute")
    parser.add_argument("--again", action="store_true", help="whatever was measured before")
    options = parser.parse_args(arguments)
    try:
        answer = _measure([load_config(path) for path in options.configs], options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except OutOfMemory as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    if options.output:
        write_json_atomic(options.output, answer)
    else:
        print(json.dumps(answer, indent=2))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
