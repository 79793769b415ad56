"""Resolves ``auto`` and times micro-batches for runs that differ only in schedule: ``python -m adabatch.measure``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adabatch.config import TrainConfig, load_config
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, OutOfMemory
from adabatch.files import output
from adabatch.measure.resolve_auto import resolve_auto
from adabatch.measure.run_times import measure_sizes
from adabatch.processes.collector import pause_collector, resume_collector
from adabatch.terminal import complain, prepare_streams
from adabatch.training.device import make_device


def _measure(configs: Sequence[TrainConfig], options: argparse.Namespace) -> dict[str, Any]:
    device = make_device(configs[0])
    resume_collector()
    resolved = resolve_auto(configs, device, again=options.again)
    first = resolved.configs[0]
    answer: dict[str, Any] = {
        "max_micro_batch_size": first.max_micro_batch_size,
        "compile": first.hardware.compile,
        "cuda_graphs": first.hardware.cuda_graphs,
        "reasons": resolved.reasons,
    }
    if options.times:
        answer["measurement"] = measure_sizes(resolved.configs, device, again=options.again).as_dict()
    return answer


def main(arguments: list[str] | None = None) -> int:
    """Measure for the given config files, print or write the result as JSON, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m adabatch.measure", description=__doc__)
    parser.add_argument("configs", type=Path, nargs="+", metavar="CONFIG", help="the config.yaml of a run")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a JSON file; stdout if not given")
    parser.add_argument("--times", action="store_true", help="also time the micro-batches that the runs will compute")
    parser.add_argument("--again", action="store_true", help="ignore cached measurements")
    options = parser.parse_args(arguments)
    prepare_streams()
    try:
        answer = _measure([load_config(path) for path in options.configs], options)
        if options.output:
            with output("-o", options.output) as file:
                file.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    except OutOfMemory as error:
        complain(error)
        return EXIT_FAILED
    if not options.output:
        print(json.dumps(answer, indent=2))
    return EXIT_DONE


if __name__ == "__main__":
    pause_collector()
    sys.exit(main())
