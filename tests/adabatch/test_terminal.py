"""What commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from adabatch.errors import ConfigError
from adabatch.shell.say import say
from adabatch.terminal import complain, duration, listed, rough_duration, run_command


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


LONG = "digits-net/growing_by_four_every_second_epoch,network.width=16/seed_0"


@pytest.mark.parametrize(("stream", "prints"), [("stdout", say), ("stderr", complain)])
def test_sentences_end_their_lines_between_words(
    stream: str, prints: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    sentence = "what this run left is kept in another folder"
    prints(sentence)
    assert getattr(capsys.readouterr(), stream[3:]) == f"{sentence}\n"  # no terminal
    monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True)
    prints(sentence)
    assert [line.strip() for line in getattr(capsys.readouterr(), stream[3:]).splitlines()] == [
        "what this run left is kept in another" if stream == "stderr" else "what this run left is kept in",
        "folder" if stream == "stderr" else "another folder",
    ]


def test_a_long_name_is_broken_between_its_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say(f"{LONG}: kept")
    assert capsys.readouterr().out.splitlines() == [
        "digits-net/",
        "    growing_by_four_every_second_epoch,",
        "    network.width=16/seed_0: kept",
    ]


def test_what_is_indented_stays_whole_to_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    complain(f"The runs go on.\n  to come back:  adabatch status --watch {LONG}")
    assert capsys.readouterr().err == f"The runs go on.\n  to come back:  adabatch status --watch {LONG}\n"


def test_of_many_the_first_are_listed() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([f"{number}" for number in range(1500)], 2, "; ", "cells") == "0; 1 and 1,498 more cells"
