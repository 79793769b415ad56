"""Logs of other trainers: the same tables, the same refusals, and a mark that says where they come from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
from analysis.cli import main

HEADER = "arm,seed,dataset,network,epoch,updates,samples,batch_size,learning_rate,test_accuracy,elapsed_seconds"
SMALL = ["fixed,0,cifar10,resnet20,1,10,1000,100,0.1,0.5,10", "fixed,0,cifar10,resnet20,2,20,2000,100,0.05,0.9,20"]
GROWN = ["grown,0,cifar10,resnet20,1,10,1000,100,0.1,0.5,8", "grown,0,cifar10,resnet20,2,15,2000,200,0.1,0.9,10"]

Import = Callable[..., Path]


@pytest.fixture
def import_rows(tmp_path: Path) -> Import:
    """Write a CSV file, import it by the command, and return the folder."""

    def run(rows: list[str], *words: str, header: str = HEADER, status: int = 0) -> Path:
        file = tmp_path / "log.csv"
        file.write_text("\n".join([header, *rows]) + "\n")
        output = tmp_path / "runs"
        assert main(["import-csv", str(file), "-o", str(output), "--trainer", "loop 1.0", *words]) == status
        return output

    return run


def test_foreign_logs_are_compared_and_marked(import_rows: Import, capsys: pytest.CaptureFixture[str]) -> None:
    output = import_rows(SMALL + GROWN, "--baseline", "fixed")
    assert (output / "cifar10-resnet20" / "grown" / "seed_0" / "DONE").exists()
    comparison = analysis.compare(analysis.load(output))
    total = comparison.speedup.query("quantity == 'total'").iloc[0]
    assert (total.arm, total.value) == ("grown", pytest.approx(2.0))
    forward = comparison.speedup.query("quantity == 'forward'").iloc[0]
    assert (forward.n, forward.verdict) == (0, "not measured")
    capsys.readouterr()
    assert main(["tables", str(output)]) == 0
    assert "logs of another trainer: its settings are as declared" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_a_test_set_of_unknown_size_is_said(import_rows: Import, tmp_path: Path) -> None:
    [remark] = analysis.compare(analysis.load(import_rows(SMALL + GROWN, "--baseline", "fixed"))).remarks
    assert remark == (
        "the number of test samples is unknown (dataset.num_test_samples), so the intervals of test accuracy are not "
        "kept at least as wide as one sample, and equal differences decide nothing; import-csv is told it by --set "
        "dataset.num_test_samples=N, adabatch.record by num_test_samples=N"
    )


def test_ties_on_a_test_set_of_unknown_size_are_no_equivalence(import_rows: Import) -> None:
    rows = [row.replace(",0,cifar", f",{seed},cifar") for seed in range(3) for row in SMALL + GROWN]
    comparison = analysis.compare(analysis.load(import_rows(rows, "--baseline", "fixed")))
    found = comparison.quality.query("arm == 'grown'").iloc[0]
    assert (found.pairs, found.difference) == (3, 0.0)
    assert found.verdict == "undecided: the size of the test set is unknown"
    assert math.isnan(found.low)
    assert "adabatch.record by num_test_samples=N" in comparison.remarks[0]


def test_a_test_set_whose_size_is_declared_is_not_unknown(import_rows: Import) -> None:
    rows = [row.replace(",0,cifar", f",{seed},cifar") for seed in range(2) for row in SMALL + GROWN]
    output = import_rows(rows, "--baseline", "fixed", "--set", "dataset.num_test_samples=100")
    comparison = analysis.compare(analysis.load(output))
    # one sample is as much as the margin, so that half of it takes twice as many
    assert comparison.remarks == (
        "no number of seeds decides a margin of 1 point with 100 test samples for grown; with about 200 test samples, "
        "more seeds would",
    )
    found = comparison.quality.query("arm == 'grown'").iloc[0]
    # no difference, and a spread of at least one point / sqrt(6): 12.7062 / sqrt(6) / sqrt(2) to each side
    assert (found.low, found.high) == (pytest.approx(-3.668, abs=1e-3), pytest.approx(3.668, abs=1e-3))


def test_declared_settings_are_matched(import_rows: Import) -> None:
    header = HEADER + ",hardware.precision,device_model"
    rows = [f"{row},fp32,P100" for row in SMALL] + [f"{row},bf16,P100" for row in GROWN]
    data = analysis.load(import_rows(rows, header=header))
    assert set(data.runs["hardware.precision"]) == {"fp32", "bf16"}
    assert set(data.runs.device_model) == {"P100"}
    assert list(analysis.compare(data).matching.refused.key) == ["hardware.precision"]


def test_a_run_with_fewer_epochs_than_it_should_have_is_a_failed_one(import_rows: Import) -> None:
    output = import_rows([f"{row},3" for row in SMALL], header=HEADER + ",num_epochs")
    row = analysis.load(output).runs.iloc[0]
    assert row.state == "failed"
    assert row.cause.startswith("Incomplete: 2 of 3 epochs are in")


def test_where_it_comes_from_is_kept(import_rows: Import) -> None:
    path = import_rows(SMALL) / "cifar10-resnet20" / "fixed" / "seed_0"
    meta = json.loads((path / "meta.json").read_text())
    assert (meta["source"], meta["trainer"]) == ("foreign", "loop 1.0")
    assert meta["imported_from"].endswith("log.csv")


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        (SMALL, HEADER.replace("updates", "steps"), "has the column steps; it must be one of"),
        ([f"{row},1" for row in SMALL], HEADER + ",steps", "has the column steps; it must be one of"),
        ([SMALL[0].replace("0.5", "50"), SMALL[1]], HEADER, "test_accuracy is 50; it must be a fraction"),
        ([SMALL[0].replace("0.5", "-5")], HEADER, "test_accuracy is -5; it must be a fraction"),
        ([SMALL[0].replace("fixed", "../../up")], HEADER, "arm is ../../up; it must be a name"),
        ([SMALL[0].replace("fixed", "")], HEADER, "arm is empty; it must be a name"),
        ([SMALL[0].replace("fixed,0", "fixed,1.5")], HEADER, "seed is 1.5; it must be a whole number"),
        ([f"{SMALL[0]},x"], HEADER + ",num_epochs", "num_epochs is x; it must be a whole number"),
        ([f"{SMALL[0]},1"], HEADER + ",seed.x", "has the column seed.x; it must be one of"),
        ([f"{SMALL[0]},11"], HEADER + ",forward_seconds", "forward_seconds are longer than the epoch"),
        ([SMALL[1]], HEADER, "the epochs are 2 to 2 without 1; they must be all from 1 on"),
        ([SMALL[0], SMALL[1][:-2] + "10"], HEADER, "elapsed_seconds does not rise"),
        ([SMALL[0].replace("0.5", "")], HEADER, "lacks test_accuracy (--map COLUMN=test_accuracy"),
        ([SMALL[0].replace("0.5", ""), SMALL[1]], HEADER, "test_accuracy is missing in epoch 1"),
        ([SMALL[0].replace("0.5", "half")], HEADER, "it must be a number"),
        (
            [SMALL[0] + ",fp32", SMALL[1] + ",bf16"],
            HEADER + ",hardware.precision",
            "hardware.precision is fp32 and bf16; it must be one value a run",
        ),
    ],
)
def test_what_cannot_be_a_log_is_refused_and_nothing_written(
    import_rows: Import, capsys: pytest.CaptureFixture[str], rows: list[str], header: str, sentence: str
) -> None:
    output = import_rows(rows, header=header, status=2)
    assert sentence in capsys.readouterr().err
    assert not output.exists()


def test_run_directories_are_not_replaced(import_rows: Import, capsys: pytest.CaptureFixture[str]) -> None:
    import_rows(SMALL)
    import_rows(SMALL, status=2)
    assert "exists already" in capsys.readouterr().err


def test_an_unknown_baseline_is_refused(import_rows: Import, capsys: pytest.CaptureFixture[str]) -> None:
    import_rows(SMALL, "--baseline", "nobody", status=2)
    assert "--baseline is nobody for cifar10-resnet20; it must be one of fixed" in capsys.readouterr().err


def test_versions_are_words_and_arms_may_be_numbers_or_none(import_rows: Import) -> None:
    rows = [f"{row},2.10,3.10".replace("fixed", "16") for row in SMALL]
    rows += [f"{row},2.1,3.1".replace("grown", "None") for row in GROWN]
    data = analysis.load(import_rows(rows, "--baseline", "16", header=HEADER + ",torch,python"))
    assert set(data.runs.arm) == {"16", "None"}
    assert set(data.runs.torch) == {"2.10", "2.1"}
    assert set(analysis.compare(data).matching.refused.key) == {"torch", "python"}
