"""What commands share."""

from __future__ import annotations

import pytest

from adabatch.errors import ConfigError
from adabatch.terminal import duration, rough_duration, run_command


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0 s"), (4e-7, "400 ns"), (1e-10, "0 s"), (1.2e-5, "12 µs"), (2.44e-3, "2.4 ms"),
        (0.003, "3.0 ms"), (0.25, "250 ms"), (0.9996, "1.0 s"), (6.04, "6.0 s"), (2.44, "2.4 s"), (9.94, "9.9 s"),
        (9.97, "10 s"), (12.4, "12 s"),
        (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (46200, "12 h 50 min"),
        (3.6e6, "1,000 h 00 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.4, "0 s"), (6.04, "6 s"), (59.6, "1 min 00 s"), (7500, "2 h 05 min")]
)
def test_durations_to_the_second(seconds: float | None, text: str) -> None:
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(("error", "status"), [(ConfigError("a is b."), 2), (KeyboardInterrupt(), 130)])
def test_exit_statuses(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise error

    assert run_command(command) == status
    assert capsys.readouterr().err == ("a is b.\n" if status == 2 else "")
