"""Shared by all commands: printing rich content, formatting durations, and exit statuses for errors."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console, RenderableType

from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; print a ConfigError as one sentence, ignore a closed pipe."""
    try:
        return command()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE


def print_renderable(content: RenderableType) -> None:
    """Print to stdout; if that is not a terminal, without colour and as wide as the content needs."""
    console = Console(highlight=False)
    if not console.is_terminal:
        needed = console.measure(content, options=console.options.update(width=2000)).maximum
        console = Console(highlight=False, width=max(80, needed), soft_wrap=False)
    console.print(content)


def duration(seconds: float | None) -> str:
    """Return a duration as ``2 h 05 min``, ``3 min 20 s`` or ``12 s``; empty if unknown."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
