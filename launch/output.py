"""Standard output of what goes on when nobody reads it any more."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from adabatch.processes.signals import send_nowhere


class StandardOutput(io.TextIOBase):
    """Standard output, which may end before the runs do: what is written to a closed terminal or pipe goes nowhere.

    Whether to stop then is decided by SIGHUP, which comes with the end of a terminal, a moment later, or never.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout  # rich puts something else into its place while it draws

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, method: Callable[..., object], *arguments: str) -> None:
        try:
            method(*arguments)
        except OSError:
            send_nowhere(self._stream.fileno())
