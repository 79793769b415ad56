"""What commands share."""

from __future__ import annotations

import pytest

from adabatch.errors import ConfigError
from adabatch.terminal import duration, run_command


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (3.6e6, "1,000 h 00 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("error", "status"), [(ConfigError("a is b."), 2), (KeyboardInterrupt(), 130)])
def test_exit_statuses(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise error

    assert run_command(command) == status
    assert capsys.readouterr().err == ("a is b.\n" if status == 2 else "")
