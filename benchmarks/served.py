"""Arms that stay built: a child process holds several of them, and each turn is a line to it and a line from it.

Where building an arm takes longer than measuring it, as on a GPU, a process for every turn would be most of the time.
Between its turns a child waits for the next line, and uses nothing but memory. Nothing here imports torch.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

from adabatch.processes.children import signal_on_parent_death
from benchmarks.arm import Measured
from benchmarks.measure import PROJECT_DIR, BenchmarkFailed

_TAIL_LINES = 8
#: Prepares an arm by its name, and returns what measures it once.
Build = Callable[[str], Callable[[], Measured]]


class OutOfTime(BenchmarkFailed):
    """A turn did not end in time."""


class ServedArms:
    """The arms that a child process holds, which is ``python -m MODULE ORDER``.

    Args:
        module: calls `serve`.
        order: what the arms are for, fit for JSON.
    """

    def __init__(self, module: str, order: Mapping[str, Any]) -> None:
        self._name = f"python -m {module}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # until stop
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(order)],
            cwd=PROJECT_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # with the processes that it starts, it is stopped as a whole
            preexec_fn=signal_on_parent_death(signal.SIGKILL),
        )

    def measure(self, arm: str, max_seconds: float) -> Measured:
        """Give an arm its turn; the first one builds it.

        Raises:
            OutOfTime: if it takes longer than that; then the child is ended, and all later turns fail.
            BenchmarkFailed: if it fails; so do all later turns if the child died.
        """
        if self._child.poll() is not None:
            raise BenchmarkFailed(f"{self._name} has ended")
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(f"{arm}\n".encode())
            self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], max(0.0, max_seconds))[0]:
            self._kill()
            raise OutOfTime(f"it took longer than the {max_seconds:.0f} s that were left for it")
        line = self._child.stdout.readline()
        if not line:
            self._child.wait()
            raise BenchmarkFailed(f"{self._name} ended with exit status {self._child.returncode}:\n{self._tail()}")
        answer: Measured = json.loads(line)
        if "failure" in answer:
            raise BenchmarkFailed(answer["failure"])
        return answer

    def stop(self) -> None:
        """End the child and all that it started."""
        self._kill()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self._errors.close()

    def _kill(self) -> None:
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def _tail(self) -> str:
        self._errors.seek(0)
        return "\n".join(self._errors.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def serve(start: Callable[[dict[str, Any]], Build]) -> None:
    """Be the child of a `ServedArms`: until the end of the input, measure the arm of each line once.

    An arm that fails is told in one sentence and tried anew when it is asked for again; the others stay. Measured are
    also ``build_seconds``, those of the arm's first turn before the measurement.

    Args:
        start: prepares what the order asks for, and returns how an arm is built.
    """
    answers = _own_output()
    build = start(json.loads(sys.argv[1]))
    built: dict[str, Callable[[], Measured]] = {}
    for line in sys.stdin:
        arm = line.strip()
        try:
            started = time.perf_counter()
            if arm not in built:
                built[arm] = build(arm)
            build_seconds = time.perf_counter() - started
            answer = {**built[arm](), "build_seconds": build_seconds}
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            answer = {"failure": str(error).splitlines()[0] if str(error) else type(error).__name__}
            built.pop(arm, None)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _own_output() -> IO[str]:
    """Return the standard output for the answers alone; what else is printed goes to the errors."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
