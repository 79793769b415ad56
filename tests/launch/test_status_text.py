"""What status and logs print of a folder, piped and in as many columns as COLUMNS says."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import mark_done
from launch.cli import main


def write(root: Path, arm: str, seed: int, log: str | None = None) -> Path:
    """Write a run that is done."""
    run = RunDir(root / "digits-tiny_cnn" / arm / f"seed_{seed}")
    run.path.mkdir(parents=True)
    run.config.write_text("num_epochs: 20\n")
    mark_done(run, "20 epochs")
    if log is not None:
        run.log.write_text(log)
    return run.path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two arms at three values of a key, with two seeds; folders are ordered by arm, and 0.10 stands before 0.9."""
    for arm in ("fixed", "growing"):
        for value in ("1e-3", "0.10", "0.9"):
            for seed in (0, 10):
                write(tmp_path / "sweep", f"{arm},optimizer.momentum={value}", seed)
    return tmp_path / "sweep"


def lines_of(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    main(list(map(str, words)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_runs_in_columns_are_in_the_order_of_the_columns(
    grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = lines_of(capsys, "status", grid)
    assert lines[lines.index("in digits-tiny_cnn") :] == [
        "in digits-tiny_cnn",
        "momentum  arm      seed  state",
        "──────────────────────────────",
        "1e-3      fixed       0  done",
        "                     10  done",
        "          growing     0  done",
        "                     10  done",
        "0.10      fixed       0  done",
        "                     10  done",
        "          growing     0  done",
        "                     10  done",
        "0.9       fixed       0  done",
        "                     10  done",
        "          growing     0  done",
        "                     10  done",
    ]


def test_an_order_that_was_asked_for_stays(
    grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = lines_of(capsys, "status", grid, "--sort", "arm")
    assert [line.split()[:2] for line in lines if line.endswith(" 0  done")] == [
        *([value, "fixed"] for value in ("1e-3", "0.10", "0.9")),
        *([value, "growing"] for value in ("1e-3", "0.10", "0.9")),
    ]


def test_piped_text_is_as_wide_as_it_must_be_unless_columns_are_given(
    grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (None, "", "0", "many"):
        if columns is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", columns)
        name = "digits-tiny_cnn/growing,optimizer.momentum=0.10/seed_10"
        assert f"{name}  done" in lines_of(capsys, "status", grid)
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, lines_of(capsys, "status", grid))) <= 40


def test_more_runs_than_are_listed_are_counted_by_arm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    for seed in range(21):
        write(tmp_path, "fixed,num_epochs=20", seed)
        write(tmp_path, "growing,num_epochs=20", seed)
    assert lines_of(capsys, "status", tmp_path)[1:] == [
        "",
        "arm      done",
        "─────────────",
        "fixed      21",
        "growing    21",
        "(42 runs are not listed; --all lists every run)",
    ]


def test_logs_of_a_folder_show_its_only_run_or_name_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm = write(tmp_path, "fixed", 0, log="epoch 1\n").parent
    assert (main(["logs", str(arm)]), capsys.readouterr().out) == (0, "epoch 1\n")
    write(tmp_path, "fixed", 1)
    assert main(["logs", str(arm)]) == 2
    assert capsys.readouterr().err == f"{arm} holds 2 runs; logs shows one of them: seed_0, seed_1.\n"
    for seed in range(2, 22):
        write(tmp_path, "fixed", seed)
    assert main(["logs", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"{tmp_path} holds 22 runs; logs shows one of them: digits-tiny_cnn/fixed/seed_0, ")
    assert complaint.endswith(" and 2 more.\n")
    assert main(["logs", str(tmp_path / "absent")]) == 2
    assert "absent is not a run directory; it must hold a config.yaml." in capsys.readouterr().err
