"""Prints rich content, on a terminal and into a pipe."""

from __future__ import annotations

from rich.console import Console, RenderableType


def print_renderable(content: RenderableType) -> None:
    """Print to stdout; without colour, and as wide as the content needs, where that is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        needed = console.measure(content, options=console.options.update(width=2000)).maximum
        console = Console(highlight=False, width=max(80, needed), soft_wrap=False)
    console.print(content)
