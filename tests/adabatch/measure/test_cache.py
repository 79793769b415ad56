"""A measurement that is kept on disk is used as it was written, or made again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adabatch.measure.cache import measured_once


class Measured:
    """Counts how often it is measured."""

    def __init__(self) -> None:
        self.count = 0

    def ask(self, *, again: bool = False) -> dict[str, Any]:
        return measured_once({"of": "this"}, self._measure, dict, dict, again=again)

    def _measure(self) -> dict[str, Any]:
        self.count += 1
        return {"seconds": 1.5, "count": self.count}


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Measured().ask()
    [path] = (tmp_path / "adabatch").iterdir()
    return path


def test_it_is_measured_once(entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    measured = Measured()
    assert measured.ask() == {"seconds": 1.5, "count": 1}
    assert measured.count == 0
    assert measured.ask(again=True) == {"seconds": 1.5, "count": 1}
    assert measured.count == 1
    assert caplog.messages == []


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(path.read_text().replace("1.5", "1.4")),
        lambda path: path.write_text(json.dumps({"seconds": 1.5})),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: os.truncate(path, 20),
        lambda path: os.truncate(path, 1 << 40),
        _replace_by_pipe,
    ],
    ids=["a digit", "older form", "a list", "no text", "cut", "endless", "a pipe"],
)
def test_a_damaged_entry_is_measured_again_and_said(entry: Path, caplog, spoil) -> None:
    spoil(entry)
    measured = Measured()
    assert measured.ask() == {"seconds": 1.5, "count": 1}
    assert measured.count == 1
    [message] = caplog.messages
    assert message.startswith(f"{entry} is damaged (")
    assert message.endswith("; it is measured again")
    assert measured.ask()["count"] == 1
    assert measured.count == 1
