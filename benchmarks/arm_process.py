"""Arms in processes of their own, which stay alive and idle between their turns. Nothing here imports torch.

So what an arm sets for its whole process, be it threads or an option of the allocator, reaches no other arm.

The parent writes lines to an arm's standard input: its order, as JSON, then ``round`` each time that it is the arm's
turn. The arm answers each with a line of JSON on its standard output, and ends when its input does.
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
from types import TracebackType
from typing import Any, Protocol, TextIO

from adabatch.errors import EXIT_FAILED
from benchmarks.machine import OthersLoad
from benchmarks.measure import PROJECT_DIR, BenchmarkFailed, failure_of

_ROUND = "round"
_LOOK_SECONDS = 0.5
_FAREWELL_SECONDS = 20.0
_FAREWELL_LOOK_SECONDS = 0.02


class Arm(Protocol):
    """What is measured, inside its process."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the parent is to know before the first round, fit for JSON."""

    def measure(self) -> tuple[float, dict[str, Any]]:
        """Do the work of one round; return its seconds and what else is to be told of it, fit for JSON."""


def serve(build: Callable[[dict[str, Any]], Arm]) -> None:
    """Be an arm's process: build it as the parent orders, then measure a round whenever told to.

    Args:
        build: makes the arm of the parent's order.
    """
    # A copy that no program started from here inherits; what anybody prints goes to the complaints.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _answer(build, answers)
    except BrokenPipeError:  # the parent is gone, so nobody else would end a loader's workers
        os.killpg(0, signal.SIGKILL)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        # An orderly end would wait for a loader's workers, which the error's traceback keeps alive.
        os._exit(EXIT_FAILED)


def _answer(build: Callable[[dict[str, Any]], Arm], answers: TextIO) -> None:
    order = sys.stdin.readline()
    if not order:
        return
    arm = build(json.loads(order))
    print(json.dumps(dict(arm.facts)), file=answers, flush=True)
    others = OthersLoad()
    while sys.stdin.readline():
        with others.watch():
            seconds, details = arm.measure()
        answer = {"seconds": seconds, "others_cores": others.cores[-1], "details": details}
        print(json.dumps(answer), file=answers, flush=True)


class ArmProcess:
    """An arm's process as its parent sees it; a context that ends it, at once if the block fails.

    Args:
        module: calls `serve` when run as ``python -m MODULE``.
        order: for the arm, fit for JSON.
        environment: variables to set besides the parent's.

    Attributes:
        facts: what the arm told of itself.
        seconds, others_cores, details: of each round so far.

    Raises:
        BenchmarkFailed: if the arm ends before it is ready.
    """

    def __init__(self, module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self._words = ["-m", module]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115, lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, *self._words],
            cwd=PROJECT_DIR,
            env={**os.environ, **(environment or {})},
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # so that it can be killed with the workers it started
        )
        self._complaint_text = ""
        self.seconds: list[float] = []
        self.others_cores: list[float | None] = []
        self.details: list[dict[str, Any]] = []
        try:
            self.facts: dict[str, Any] = self._ask(json.dumps(dict(order)))
        except BaseException:
            self._end(0.0)
            raise

    def measure_round(self) -> float:
        """Let the arm measure one round; return its seconds.

        Raises:
            BenchmarkFailed: if the arm ends instead.
        """
        answer = self._ask(_ROUND)
        self.seconds.append(answer["seconds"])
        self.others_cores.append(answer["others_cores"])
        self.details.append(answer["details"])
        return self.seconds[-1]

    def __enter__(self) -> ArmProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(_FAREWELL_SECONDS if kind is None else 0.0)

    def _ask(self, line: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            raise self._failure() from None
        # Not a plain read: workers of an arm that died may hold its end of the pipe open.
        while not select.select([stdout], [], [], _LOOK_SECONDS)[0]:
            if self._has_ended():
                raise self._failure()
        answer = stdout.readline()
        if not answer.endswith(b"\n"):
            raise self._failure()
        result: dict[str, Any] = json.loads(answer)
        return result

    def _has_ended(self) -> bool:
        """Say whether the process has ended, and leave it a zombie: its group must not become another's."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _failure(self) -> BenchmarkFailed:
        self._end(_FAREWELL_SECONDS)
        return failure_of(self._words, self._process.returncode, self._complaint_text)

    def _end(self, max_seconds: float) -> None:
        """Let the process end by itself within ``max_seconds``; kill it, and what workers are left, after that."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        deadline = time.monotonic() + max_seconds
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(_FAREWELL_LOOK_SECONDS)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        with self._complaints:
            self._complaints.seek(0)
            self._complaint_text = self._complaints.read().decode(errors="replace")
