"""Signals that ask a run to save its state and stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: SIGTERM comes from operators and preemption, SIGUSR1 and SIGUSR2 from batch systems ahead of a time limit, SIGHUP
#: when the terminal or the connection to it is gone.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)


def is_under_nohup() -> bool:
    """Return whether whoever started this process wants it to outlive the terminal: SIGHUP is ignored."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def send_nowhere(descriptor: int) -> None:
    """Let what is written to a descriptor go nowhere from now on."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def leave_terminal() -> None:
    """Let what is still printed go nowhere if the terminal is gone, where writing would be an error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            send_nowhere(descriptor)


@contextmanager
def handling(
    numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], Any] | signal.Handlers
) -> Iterator[None]:
    """Let a handler have these signals within the block, in the main thread; restore the previous ones after it."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class StopRequest:
    """Remembers the first signal that asked for a stop; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)

    @contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handle the stop signals within the block, in the main thread. Under nohup SIGHUP stays ignored."""
        handled = [number for number in STOP_SIGNALS if number != signal.SIGHUP or not is_under_nohup()]
        with handling(handled, self._handle):
            yield self


class Terminated(SystemExit):
    """SIGTERM or SIGHUP came; the exit status is the shell's convention for it.

    Attributes:
        signal_name: which one.
    """

    def __init__(self, number: signal.Signals = signal.SIGTERM) -> None:
        super().__init__(128 + number)
        self.signal_name = number.name


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `Terminated` within the block.

    Not those that the program handles or ignores, and only in its main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        raise Terminated(signal.Signals(number))

    free = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    with handling(free, stop):
        yield
