"""Times the averaging of gradients between ranks that srun or torchrun started, on one node or several.

Every rank calls ``python -m adabatch.measure.averaging_of_ranks CONFIG -o FILE``; the first one writes the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch

from adabatch.config import TrainConfig, load_config
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, RankFailed
from adabatch.files import output
from adabatch.measure.averaging import num_gradients, time_averaging
from adabatch.processes.collector import pause_collector, resume_collector
from adabatch.processes.rank_place import rank_place
from adabatch.processes.ranks import ProcessGroupRanks
from adabatch.terminal import complain, prepare_streams
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES

_START_TIMEOUT = timedelta(minutes=5)


def _measure(config: TrainConfig) -> float | None:
    """Return the seconds of one averaging; None on all ranks but the first."""
    place = rank_place(config.hardware, os.environ)
    if place is None or place.world_size < 2:
        raise ConfigError("no ranks were started; srun or torchrun must start as many as hardware says.")
    device = make_device(config, place.gpu)
    ranks = ProcessGroupRanks(place, device, _give_up, _START_TIMEOUT)
    resume_collector()
    try:
        gradients = torch.zeros(num_gradients(config), dtype=DTYPES[config.hardware.precision], device=device)
        seconds = time_averaging(gradients)
        ranks.wait_for_all()
    finally:
        ranks.close()
    return seconds if ranks.is_main else None


def _give_up(failure: RankFailed) -> None:
    complain(failure)
    os._exit(EXIT_FAILED)


def main(arguments: list[str] | None = None) -> int:
    """Measure together with the other ranks, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m adabatch.measure.averaging_of_ranks", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the config.yaml of a run with these ranks")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="a JSON file")
    options = parser.parse_args(arguments)
    prepare_streams()
    try:
        seconds = _measure(load_config(options.config))
        if seconds is not None:
            with output("-o", options.output) as file:
                file.write_text(json.dumps({"seconds": seconds}) + "\n", encoding="utf-8")
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    return EXIT_DONE


if __name__ == "__main__":
    pause_collector()
    sys.exit(main())
