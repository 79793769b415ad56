"""How far a sweep is, as shown in 80 and in 160 columns."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import mark_done
from adabatch.rundir.states import State
from launch.cli import main as launch_main
from launch.display import LiveDisplay, PlainDisplay
from launch.run_names import run_names
from launch.status import read_status

CELL = "fashion_mnist-resnet20"
LEVEL = "optimizer.weight_decay=0.0005"


def write(root: Path, arm: str, seed: int, *, done: float | None = None, forecast: float | None = None) -> Path:
    """Write a run that took ``done`` wall-clock seconds, or has not started; 20 s of a forecast are tests."""
    run = RunDir(root / CELL / f"{arm},{LEVEL}" / f"seed_{seed}")
    run.path.mkdir(parents=True)
    run.config.write_text("num_epochs: 20\n")
    launch: dict[str, object] = {"concurrent_runs": 2}
    if forecast is not None:
        launch["forecast"] = {"train_seconds": forecast - 30, "growth_seconds": 10, "test_seconds": 20}
    run.meta.write_text(json.dumps({"launch": launch}))
    if done is not None:
        run.summary.write_text(json.dumps({"state": "done", "epochs": 20, "num_epochs": 20, "wall_seconds": done}))
        mark_done(run, "done")
    return run.path


def beat(run: Path, epoch: int, wall: float, **values: object) -> None:
    """Let a run train on another machine: half of an epoch is done."""
    beats: dict[str, object] = {"time": time.time(), "host": "elsewhere", "pid": 1, "epoch": epoch, "num_epochs": 20}
    beats |= {"updates": 1234, "samples_in_epoch": 500, "epoch_samples": 1000, "wall_seconds": wall}
    RunDir(run).progress.write_text(json.dumps(beats | values))


def test_only_done_runs_count_in_the_lines_of_a_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (write(tmp_path, "fixed", seed, done=5) for seed in range(2))
    display = PlainDisplay(tmp_path, 2)
    stopped, done = read_status(tmp_path)
    display.started(first)
    display.ended(dataclasses.replace(stopped, state=State.PREEMPTED, cause="stopped by SIGTERM"))
    display.started(second)
    display.ended(done)
    display.stopping(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == "stopping: 2 running runs save their state first"
    assert lines[1] == f"[0/2 done] preempted {CELL}/fixed,{LEVEL}/seed_0 (0 s): stopped by SIGTERM"
    assert lines[3] == f"[1/2] done {CELL}/fixed,{LEVEL}/seed_1 (0 s)"


def test_long_names_in_the_lines_of_a_queue_are_broken_between_their_parts(tmp_path: Path) -> None:
    arm = "growing_by_four_every_second_epoch_from_sixteen_samples_on_with_a_constant_rate"
    run = write(tmp_path, arm, 0, done=5)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    display = LiveDisplay(tmp_path, [run], console)
    display.started(run)
    display.ended(read_status(tmp_path)[0])
    lines = [line.strip() for line in plain(console.file.getvalue()).split("\n")]  # type: ignore[attr-defined]
    assert lines[:3] == [
        f"[1/1] done {CELL}/growing_by_four_every_second_epoch_from_",
        "sixteen_samples_on_with_a_constant_rate,optimizer.weight_decay=0.0005/seed_0",
        "(0 s)",
    ]


def test_runs_are_named_once_by_what_they_differ_in() -> None:
    names = run_names([Path(f"s/a-b/{arm},x.y=1,x.z=[{z},1]/seed_{z}") for arm in ("p", "q") for z in (0, 10)])
    assert names is not None
    assert names.headers == ["z", "arm", "seed"]
    assert names.cells == [["[0,1]", "p", "0"], ["[10,1]", "p", "10"], ["[0,1]", "q", "0"], ["[10,1]", "q", "10"]]
    assert names.shared == "a-b, x.y=1"
    assert run_names([Path("s/a-b/p/seed_0"), Path("s/other")]) is None


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A run that is done, one in its first update, one that starts, and one that was never started."""
    folder = tmp_path / "sweep"
    write(folder, "fixed_large_by_the_rule", 0, done=1000)
    beat(write(folder, "growing", 0), epoch=1, wall=75, updates=0, samples_in_epoch=0, span="growth")
    beat(write(folder, "growing", 1), epoch=11, wall=210)
    write(folder, "fixed_large_by_the_rule", 1, forecast=600)
    return folder


def in_a_terminal(command: list[str], *, columns: int, lines: int, stop_at: str) -> tuple[int, str]:
    """Run a command in a terminal, press Ctrl-C when it has printed some text; return exit status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        size = {"COLUMNS": str(columns), "LINES": str(lines)}
        os.execve(command[0], command, {**os.environ, **size, "TERM": "xterm"})
    printed, is_stopped = "", False
    try:
        while part := os.read(terminal, 65536):
            printed += part.decode(errors="replace")
            if not is_stopped and re.search(stop_at, printed):
                os.kill(pid, signal.SIGINT)
                is_stopped = True
    except OSError:  # the other side is closed
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed


def plain(printed: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed)


def status(folder: Path, width: int, *words: str) -> list[str]:
    environment = {**os.environ, "COLUMNS": str(width), "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    command = [sys.executable, "-m", "launch", "status", str(folder), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout).splitlines()


@pytest.mark.slow
def test_a_narrow_status_names_arm_and_seed_in_columns(sweep: Path) -> None:
    lines = status(sweep, 80)
    assert max(map(len, lines)) <= 80
    assert f"in {CELL}, {LEVEL}" in lines
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert ["arm", "seed", "state", "epoch", "now", "left"] in rows
    assert ["growing", "0", "running", "1/20", "compiling"] in rows
    assert ["1", "running", "11/20", "update 1,234", "3 min 10 s"] in rows  # of the arm above
    # two run: 190 s at the pace of one, and 400 s of the other, which has none of its own
    end = "1 of 4 done, 2 running, 1 neither queued nor done; about 6 min 40 s left (by the pace so far)"
    assert end in " ".join(" ".join(lines).split())


@pytest.mark.slow
def test_a_wide_status_names_each_run(sweep: Path) -> None:
    lines = status(sweep, 160)
    assert max(map(len, lines)) <= 160
    assert any(line.startswith(f"{CELL}/fixed_large_by_the_rule,{LEVEL}/seed_0  done ") for line in lines)


@pytest.mark.slow
def test_who_stops_watching_is_told_how_to_come_back(sweep: Path) -> None:
    command = [sys.executable, "-m", "launch", "status", str(sweep), "--watch", "0.2"]
    status, printed = in_a_terminal(command, columns=80, lines=40, stop_at=r"left[^$]* %")
    assert status == 130
    text = plain(printed)
    assert "51 %" in text  # one run and 10.5 of 20 epochs, of the three that are done or run
    assert f"The runs go on.\r\n  to come back:  adabatch status --watch {sweep}\r\n" in text
    assert f"  to stop them:  adabatch cancel {sweep}" in text
    assert "Traceback" not in text
    # ^C is shown behind the bar, where a full line would begin another one, and the table would be drawn a line too low
    assert {len(bar) for bar in re.findall(r"[━╸╺]+ +\d+ %", text)} == {77}


@pytest.mark.slow
def test_who_stops_a_stream_of_json_is_told_how_to_come_back_beside_it(sweep: Path) -> None:
    command = [sys.executable, "-m", "launch", "status", str(sweep), "--watch", "0.2", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [json.loads(line)["state"] for line in lines] == ["done", "missing", "running", "running"]
    assert (out, err.splitlines()[0]) == ("", "The runs go on.")
    assert f"  to come back:  adabatch status --format json --watch {sweep}\n" in err


@pytest.mark.slow
def test_a_watched_folder_that_does_not_exist_costs_a_sentence_and_no_blank_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch", "status", str(tmp_path / "no"), "--watch"]
    status, printed = in_a_terminal(command, columns=200, lines=24, stop_at="never")
    assert status == 2
    assert plain(printed) == f"{tmp_path / 'no'} does not exist; it must be a sweep's folder or a run directory.\r\n"


@pytest.mark.slow
def test_who_stops_waiting_is_told_how_to_come_back(sweep: Path) -> None:
    command = [sys.executable, "-m", "launch", "wait", str(sweep)]
    status, printed = in_a_terminal(command, columns=80, lines=40, stop_at="about 6 min 40 s left")
    assert status == 130
    assert f"  to come back:  adabatch wait {sweep}\r\n" in plain(printed)


@pytest.mark.slow
def test_a_watched_status_has_no_more_lines_than_its_terminal(sweep: Path) -> None:
    for seed in range(2, 30):
        write(sweep, "growing", seed)
    (sweep / ".launch").mkdir()
    command = [sys.executable, "-m", "launch", "status", str(sweep), "--watch", "0.2"]
    _, printed = in_a_terminal(command, columns=80, lines=24, stop_at=r"(?s)\d %.*\x1b.*\d %")
    # what is drawn after the cursor has gone up is drawn over what was there
    first = re.split(r"\x1b\[\d*A", printed)[0]
    assert len(plain(first).splitlines()) <= 23
    rows = [re.split(r"\s{2,}", line.strip()) for line in plain(first).splitlines()]
    assert ["arm", "running", "done", "missing"] in rows
    assert ["growing", "2", "28"] in rows
    assert any(row[:3] == ["1", "running", "11/20"] for row in rows)
    assert "(30 runs are not listed; the terminal has no more lines)" in plain(first)


def test_runs_are_in_the_order_of_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for width, seed in [(16, 2), (8, 10), (8, 2), (0.5, 1)]:
        run = RunDir(tmp_path / "digits-net" / f"growing,network.args.width={width}" / f"seed_{seed}")
        run.path.mkdir(parents=True)
        run.config.write_text("num_epochs: 20\n")
    assert launch_main(["status", str(tmp_path), "--format", "json"]) == 3
    named = [run["name"].partition("width=")[2] for run in json.loads(capsys.readouterr().out)]
    assert named == ["0.5/seed_1", "8/seed_2", "8/seed_10", "16/seed_2"]


def test_a_wrong_arm_is_told_the_arms_without_their_swept_values(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in sweep.rglob("config.yaml"):
        (run.parent / "attempts.jsonl").touch()
    (sweep / ".launch").mkdir()
    assert launch_main(["status", str(sweep), "--arm", "growin"]) == 2
    expected = "--arm is growin; it must be one of fixed_large_by_the_rule, growing. Did you mean growing?\n"
    assert capsys.readouterr().err == expected
