"""A tracker outside of adabatch."""

import json
from pathlib import Path
from typing import Any

import adabatch


class Lines(adabatch.Tracker):
    """Writes a line for everything that it hears; raises in a method of one's choice."""

    def __init__(self, run_dir: Path, name: str, file: str = "lines.jsonl", fails_in: str = "") -> None:
        self._path = run_dir / file
        self._fails_in = fails_in
        self._write("made", name)

    def start(self, epoch: int, updates: int) -> None:
        self._write("start", epoch, updates)

    def decide(self, updates: int, samples: int, batch_size: int, learning_rate: float) -> None:
        self._write("decide", updates, samples, batch_size, learning_rate)

    def log(self, row: dict[str, Any]) -> None:
        self._write("log", row["epoch"], row["updates"], row["batch_size"])

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        self._write("finish", summary["state"], exit_status)

    def _write(self, *what: Any) -> None:
        with open(self._path, "a") as file:
            file.write(json.dumps(what) + "\n")
        if what[0] == self._fails_in:
            raise ConnectionError("nobody listens")


@adabatch.register_tracker("my_nothing")
def nothing() -> int:
    """Return no tracker."""
    return 0
