"""``python -m adabatch.resume RUN_DIR``: trains or resumes the run in a directory that holds a ``config.yaml``."""

from __future__ import annotations

import argparse
import sys

from adabatch.errors import EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.processes.collector import pause_collector
from adabatch.run import resume_run
from adabatch.terminal import complain, prepare_streams


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m adabatch.resume", description=__doc__)
    parser.add_argument("run_dir", help="a folder with the config.yaml of a run")
    parser.add_argument(
        "--num-ranks", type=int, help="how many ranks a job has started: train only what so many train (exit status 76)"
    )
    prepare_streams()
    try:
        options = parser.parse_args(arguments)
        return resume_run(options.run_dir, options.num_ranks)
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    pause_collector()
    sys.exit(main())
