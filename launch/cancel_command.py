"""The command ``cancel``."""

from __future__ import annotations

import argparse

import launch.cancel
from adabatch.errors import EXIT_DONE
from adabatch.shell.say import say
from adabatch.terminal import counted
from launch.arguments import add_cancel


def cancel(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``cancel`` and return the exit status."""
    add_cancel(parser)
    folder = parser.parse_args(arguments).folder
    stopped = launch.cancel.cancel(folder)
    if not stopped:
        say(f"nothing in {folder} is queued or running")
        return EXIT_DONE
    say(f"{counted(stopped, 'queued or running run')} {'is' if stopped == 1 else 'are'} being stopped")
    return EXIT_DONE
