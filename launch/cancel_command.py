"""The command ``cancel``."""

from __future__ import annotations

import argparse

import launch.cancel
from adabatch.errors import EXIT_DONE
from adabatch.files import user_path


def cancel(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``cancel`` and return the exit status."""
    parser.add_argument(
        "folder",
        type=user_path,
        metavar="DIR",
        help="a submitted sweep's folder, a part of it, or a run directory",
    )
    stopped = launch.cancel.cancel(parser.parse_args(arguments).folder)
    print(f"{stopped} queued or running runs are being stopped")
    return EXIT_DONE
