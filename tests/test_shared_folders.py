"""Commands on folders to which others can write: whom they stop, what they print, and what they leave out."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import analysis.cli
import launch.cli
from adabatch import files
from adabatch.rundir.files import RunDir
from adabatch.rundir.process_identity import identity_of, this_process
from analysis import compare, load
from analysis.formats import to_csv

SWEEP = Path(__file__).parent / "fixtures" / "v0_1_0" / "sweep"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "_warned", set())
    return Path(shutil.copytree(SWEEP, tmp_path / "sweep"))


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that has nothing to do with the sweep."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield process
        finally:
            process.kill()


def record_attempt(sweep: Path, **values: Any) -> None:
    run_dir = RunDir(sweep / "synthetic-tiny_cnn" / "adaptive" / "seed_0")
    run_dir.done.unlink()
    record = {"event": "start", "time": 1.7e9, "job_id": None, "host": socket.gethostname(), **values}
    run_dir.attempts.write_text(json.dumps(record) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("left_out", ["pid_start", "boot_id", None])
def test_cancel_stops_what_it_can_prove_to_be_its_own(
    sweep: Path, innocent: subprocess.Popen[bytes], left_out: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    named = identity_of(innocent.pid).as_dict()
    record_attempt(sweep, **{name: value for name, value in named.items() if name != left_out})
    assert launch.cli.main(["cancel", str(sweep)]) == 0
    if left_out is None:
        assert innocent.wait(60) == -15
    else:
        assert f"process {innocent.pid} is left alone" in capsys.readouterr().err
        assert innocent.poll() is None


@pytest.mark.parametrize(
    "changes", [{"pid_start": "1"}, {"boot_id": "another"}, {"host": "another"}, {"pid": 1}, {"pid": -1}]
)
def test_a_process_of_another_time_or_place_is_not_alive(
    sweep: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *signal: pytest.fail(f"{signal} was sent"))
    record_attempt(sweep, **{**this_process().as_dict(), **changes})
    assert launch.cli.main(["cancel", str(sweep)]) == 0


def printed(command: Callable[[], int], encoding: str = "utf-8") -> tuple[int, str, str]:
    """Return the exit status and what was printed, as to a terminal of an encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        status = command()
    texts = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]
    return status, texts[0], texts[1]


def test_folders_without_runs_are_named_and_the_others_shown(
    sweep: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    words = [str(tmp_path / name) for name in ("empty", "file", "nowhere", "sweep")]
    status, out, err = printed(lambda: launch.cli.main(["status", *words, "--format", "json"]))
    assert status == 0
    assert len(json.loads(out)) == 4
    assert [line.rpartition("/")[2].split()[0] for line in err.splitlines()] == ["empty", "file", "nowhere"]
    status, out, err = printed(lambda: analysis.cli.main(["tables", *words, "--format", "json"]))
    assert status == 0
    assert len(json.loads(out)["runs"]) == 4
    assert [message.split()[0].rpartition("/")[2] for message in caplog.messages] == ["empty", "file", "nowhere"]
    for command in (launch.cli.main, analysis.cli.main):
        word = "status" if command is launch.cli.main else "tables"
        status, out, err = printed(lambda: command([word, *words[:3]]))  # noqa: B023
        assert status == 2
        assert out == ""
        assert "empty holds no run" in err


@pytest.mark.parametrize("words", [("tables",), ("tables", "--format", "latex"), ("status",)])
def test_a_terminal_that_knows_ascii_only_is_written_to_plainly(sweep: Path, words: tuple[str, ...]) -> None:
    main = launch.cli.main if words[0] == "status" else analysis.cli.main
    status, out, _ = printed(lambda: main([words[0], str(sweep), *words[1:]]), "ascii")
    assert status == 0
    assert "adaptive" in out
    if words == ("tables",):
        assert "+-" in out  # for ±


def test_a_name_that_is_no_text_and_one_that_is_markup_are_shown(sweep: Path) -> None:
    arm = sweep / "synthetic-tiny_cnn" / "adaptive"
    names = {"[/nope]": "[/nope]", "\udcff": "\\udcff", "\x1b[2J": "\\x1b[2J", "a\nb": "a\\nb"}
    for name in names:
        shutil.copytree(arm / "seed_0", arm / name)
    for main, word in ((launch.cli.main, "status"), (analysis.cli.main, "tables")):
        status, out, _ = printed(lambda: main([word, str(sweep)]))  # noqa: B023
        assert status in (0, 1)
        assert "\x1b" not in out
        if word == "status":
            assert all(shown in out for shown in names.values())
    runs = load(sweep).runs
    assert len(runs) == 8
    assert runs.state.eq("done").all()


def test_a_spreadsheet_takes_names_for_texts(sweep: Path) -> None:
    for meta in sweep.rglob("adaptive/*/meta.json"):
        values = json.loads(meta.read_text())
        values["launch"]["arm"] = "=1+1"
        meta.write_text(json.dumps(values))
    rows = list(csv.DictReader(io.StringIO(to_csv(compare(load(sweep))))))
    assert {row["arm"] for row in rows} == {"'=1+1", "fixed_small"}
    assert any(row["value"].startswith("-") for row in rows)  # a number stays one


@pytest.mark.parametrize("words", [("report",), ("figure",)])
@pytest.mark.parametrize("target", ["/dev/full", "/dev", "/proc/x/y"])
def test_outputs_replace_files_only(sweep: Path, words: tuple[str, ...], target: str) -> None:
    output = target if words == ("report",) else f"{target}.pdf"
    if words == ("figure",):
        output = str(sweep.parent / "link.pdf")
        os.symlink(target, output)
    status, _, err = printed(lambda: analysis.cli.main([*words, str(sweep), "-o", output]))
    assert status == 2
    assert err.startswith(f"-o is {output}; it must be a file")
    assert Path("/dev/full").is_char_device()


@pytest.mark.slow
def test_a_locale_without_characters_is_no_traceback(sweep: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    for words in (["analysis", "tables"], ["launch", "status"]):
        command = [sys.executable, "-m", *words, str(sweep)]
        answer = subprocess.run(command, env=environment, capture_output=True)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.isascii()
