"""Prints sentences, which in a terminal are broken as tables break theirs."""

from __future__ import annotations

import shutil
import sys

from adabatch.reading import printable
from adabatch.shell.fitting import wrapped

#: Of all lines but the first.
_INDENT = "    "


def say(sentence: str) -> None:
    """Print a sentence to stdout at once.

    In a terminal lines end between words, and within a long name between its parts; elsewhere it is one line. What is
    there to be copied, such as a command, is printed with ``print``, because a broken line cannot be copied.
    """
    text = printable(sentence)
    width = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and len(text) > width:
        first, *others = wrapped(text, max(20, width - len(_INDENT)))
        text = "\n".join([first, *(_INDENT + line for line in others)])
    print(text, flush=True)
