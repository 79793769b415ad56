"""A verb's docstring as its help, for `adabatch.cli` and for the commands of single packages."""

from __future__ import annotations

import argparse
import inspect
import shutil
import textwrap
from collections.abc import Callable
from typing import Any

from adabatch import __version__

#: A function that reads ``sys.argv`` and returns the exit status, as a console script's.
Verb = Callable[[], int | None]

_PARSER = "_parsed_by"
#: The width of a list that goes into a file or a pipe: no line is wrapped.
_UNWRAPPED = 1000
#: What ``--version`` prints.
VERSION = f"adabatch {__version__}"


def name_of(verb: Verb) -> str:
    """Return the name under which a function is a verb."""
    return verb.__name__.replace("_", "-")


def summary(verb: Verb) -> str:
    """Return a verb's line in lists: the first one of its docstring."""
    return (inspect.getdoc(verb) or "").partition("\n")[0].rstrip(".")


def list_verbs(summaries: dict[str, str]) -> str:
    """Return one line for each verb, from its name and summary."""
    return "\n".join(verb_lines(summaries).values())


def verb_lines(summaries: dict[str, str]) -> dict[str, str]:
    """Return what a list says of each verb: its name and summary, wrapped to the width of the terminal."""
    width = max(map(len, summaries), default=0)
    columns = max(width + 30, shutil.get_terminal_size((_UNWRAPPED, 0)).columns)
    return {
        name: textwrap.fill(f"  {name:{width}}  {text}", columns, subsequent_indent=" " * (width + 4))
        for name, text in summaries.items()
    }


def parsed_by(place: str) -> Callable[[Verb], Verb]:
    """Return a decorator that tells which function returns the parser of what follows a verb, given the verb's name.

    Args:
        place: ``module:function``; imported when a shell completes a line.
    """

    def mark(verb: Verb) -> Verb:
        setattr(verb, _PARSER, place)
        return verb

    return mark


def parser_place(verb: Verb) -> str | None:
    """Return what `parsed_by` was told; None for a verb that it was not told of."""
    found: str | None = getattr(verb, _PARSER, None)
    return found


class HelpText(argparse.HelpFormatter):
    """Wraps sentences at the width of the terminal; paragraphs that are indented, the examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            part if part.startswith(" ") else super(HelpText, self)._fill_text(part, width, indent)
            for part in paragraphs
        )


def help_of(verb: Verb) -> dict[str, Any]:
    """Return the arguments of an `argparse.ArgumentParser` that make a verb's docstring its help."""
    first, *others = (inspect.getdoc(verb) or "").split("\n\n")
    parts = [textwrap.indent(part, "  ") if part.startswith("adabatch ") else part for part in others]
    return {"description": first, "epilog": "\n\n".join(parts) or None, "formatter_class": HelpText}
