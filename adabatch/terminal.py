"""Shared by all commands: printing rich content, formatting numbers and durations, and exit statuses for errors."""

from __future__ import annotations

import codecs
import errno
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.reading import printable, reason

if TYPE_CHECKING:
    from rich.console import RenderableType

#: What a disk says that is full, over its quota, or read-only.
_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: How characters of our own tables and sentences are written where they cannot be encoded.
_PLAIN = {"–": "-", "—": "-", "±": "+-", "×": "x", "·": "-", "…": "...", "−": "-", "µ": "u", "─": "-", "│": "|"}
#: The name under which Python knows that.
_PLAINLY = "adabatch-plainly"


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; a ConfigError, and a disk that refuses, is one sentence.

    A closed pipe is ignored.
    """
    prepare_streams()
    try:
        return command()
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        what = error.filename or "a file"
        complain(f"{what} cannot be written ({reason(error)}); make room, and repeat the command.")
        return EXIT_USAGE


def complain(sentence: object) -> None:
    """Print a sentence to stderr; what it quotes from files and their names cannot move the terminal.

    In a terminal lines end between words. Indented lines, such as commands, stay whole, so that they can be copied.
    """
    text = printable(str(sentence), keep="\n\t")
    if sys.stderr.isatty():
        width = max(20, shutil.get_terminal_size().columns)
        text = "\n".join(line if line.startswith(" ") else _in_lines(line, width) for line in text.split("\n"))
    print(text, file=sys.stderr, flush=True)


def _in_lines(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def prepare_streams() -> None:
    """Let stdout and stderr write characters that their encoding lacks in a plainer way, instead of failing.

    A width of 0 columns, as some container tools set it, is no width: rich would print nothing.
    """
    if not os.environ.get("COLUMNS", "1").strip("0"):
        del os.environ["COLUMNS"]
    codecs.register_error(_PLAINLY, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAINLY)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    # Characters that came from bytes of a name that is no text are shown as such.
    return "".join(_PLAIN.get(char) or char.encode("unicode_escape").decode("ascii") for char in text), error.end


def print_renderable(content: RenderableType) -> None:
    """Print to stdout; if that is not a terminal, without colour, and as wide as COLUMNS says or the content needs."""
    from rich.console import Console

    console = Console(highlight=False)
    has_width = os.environ.get("COLUMNS", "").isdecimal()  # which the console has taken
    if not console.is_terminal and not has_width:
        needed = console.measure(content, options=console.options.update(width=2000)).maximum
        console = Console(highlight=False, width=max(80, needed), soft_wrap=False)
    console.print(content)


def number_text(number: int) -> str:
    """Return a size or a count as sentences and tables have it: ``2,048``.

    The value of a config key that stands beside the key is written as in YAML instead.
    """
    return f"{number:,}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 run``, ``1,200 runs``.

    Args:
        plural: where it is not the noun with an s.
    """
    return f"{number:,} {noun_for(number, noun, plural)}"


def listed(texts: Sequence[str], most: int, between: str = ", ", of: str = "") -> str:
    """Return some texts in one, and how many others there are: ``a, b and 3 more``.

    Args:
        of: what the others are, such as ``cells``.
    """
    more = len(texts) - most
    others = f" and {more:,} more" + (f" {of}" if of else "") if more > 0 else ""
    return between.join(texts[:most]) + others


def noun_for(number: float, noun: str, plural: str = "") -> str:
    """Return a noun as it stands behind a number: ``run`` behind 1, ``runs`` behind others."""
    return noun if number == 1 else plural or noun + "s"


def duration(seconds: float | None) -> str:
    """Return a measured duration, such as ``2 h 05 min``, ``3 min 20 s``, ``12 s``, ``2.0 s`` or ``2.4 ms``.

    It has two digits or more, also where the second one is 0; empty if unknown.
    """
    if seconds is None:
        return ""
    return _short_duration(seconds) if round(seconds, 1) < 10 else rough_duration(seconds)


def rough_duration(seconds: float | None) -> str:
    """Return a duration to the second, for what is estimated or goes on: ``3 min 20 s``, ``2 s``; empty if unknown."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _short_duration(seconds: float) -> str:
    """Return less than ten seconds with two digits, or three."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        value = seconds / size
        if round(value, 2) >= 1:
            return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"
    return "0 s"
