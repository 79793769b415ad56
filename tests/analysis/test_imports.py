"""Logs of other trainers in their own layouts and dialects, through the command; numbers are computed by hand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.cli import main

LOGS = Path(__file__).parent / "logs"
DOCS = Path(__file__).parents[2] / "docs" / "analysis.md"
CELL = "cifar10-resnet20"
MEASURE = ("--set", "samples_per_epoch=1000", "--set", "seconds_per_epoch=10")
WHOSE = ("--set", "dataset=cifar10", "--set", "network=resnet20")
SMALL = ("--set", "arm=fixed", "--set", "seed=0", *WHOSE)
HEADER = "arm,seed,dataset,network,epoch,updates,samples,batch_size,learning_rate,test_accuracy,elapsed_seconds"

Run = Callable[..., Path]


@pytest.fixture
def run_import(tmp_path: Path) -> Run:
    """Run the command on files, or on the text of one, and return the folder."""

    def run(source: str | list[Path], *words: str, status: int = 0, trainer: str = "loop 1.0") -> Path:
        files = source
        if isinstance(source, str):
            (tmp_path / "log.csv").write_text(source, encoding="utf-8")
            files = [tmp_path / "log.csv"]
        output = tmp_path / "runs"
        given = ["import-csv", *map(str, files), "-o", str(output), "--trainer", trainer, *words]
        assert main(given) == status
        return output

    return run


def rows_of(
    arm: str = "fixed", seed: int | str = 0, network: str = "resnet20", epochs: int = 2, **values: Any
) -> list[str]:
    """Return rows of a run whose epochs have 1000 samples in batches of 100 and take 10 s."""
    made = []
    for epoch in range(1, epochs + 1):
        row = {
            "arm": arm,
            "seed": seed,
            "dataset": "cifar10",
            "network": network,
            "epoch": epoch,
            "updates": 10 * epoch,
            "samples": 1000 * epoch,
            "batch_size": 100,
            "learning_rate": 0.1,
            "test_accuracy": 0.5 + epoch / 100,
            "elapsed_seconds": 10 * epoch,
        }
        row |= {name: value(epoch) if callable(value) else value for name, value in values.items()}
        made.append(",".join(map(str, row.values())))
    return made


def log(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def epochs_of(output: Path, arm: str = "fixed", folder: str = "seed_0", cell: str = CELL) -> pd.DataFrame:
    data = analysis.load(output / cell / arm / folder)
    assert data.runs.damage.isna().all(), data.runs.damage.tolist()
    return data.epochs


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# Dialects


@pytest.mark.parametrize("name", ["bom", "header_twice", "interleaved", "semicolon", "spaces", "trailing"])
def test_dialects_are_read_as_meant(run_import: Run, name: str) -> None:
    epochs = epochs_of(run_import([LOGS / f"{name}.csv"]))
    assert epochs.epoch.tolist() == list(range(1, len(epochs) + 1))
    first = epochs.iloc[0]
    assert (first.updates, first.samples, first.batch_size) == (10, 1000, 100)
    assert (first.learning_rate, first.test_accuracy, first.elapsed_seconds) == (0.1, 0.5, 10)
    assert len(epochs) == (2 if name in ("header_twice", "trailing") else 1)


def test_a_repeated_header_is_noted(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_import([LOGS / "header_twice.csv"])
    assert "line 3 is the header once more, skipped." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            log(rows_of()[0].replace(",0.1,", ",0,1,")),
            "line 2 has 12 cells, separated by commas; it must have at",
        ),
        (log(*rows_of()).replace(",", ";").replace("0.51", "0,51"), "line 2: learning_rate is 0.1, and other numbers"),
        (log(*rows_of(), header=HEADER.replace("updates", "samples")), "has the column samples twice"),
        (log(rows_of()[0].replace("0.51", '"0.51')), "unexpected end of data; it must be CSV with whole quotes"),
        (log(), "log.csv has a header and no rows; it must have at least one"),
        (log(*rows_of(samples="1e400")), "line 2: samples is 1e400; it must be a whole number"),
        (log(rows_of()[0] + ",..", header=f"{HEADER},cell"), "cell is ..; it must be a name"),
        (log(rows_of()[0] + ",1,2", header=f"{HEADER},schedule.a,schedule.a.b"), "schedule.a.b is given, and"),
        ("", "log.csv is empty; it must have a line with the names of its columns"),
        ('{"log_history": []}', "has no log_history; it must be CSV or a trainer_state.json"),
        (log(*rows_of(samples="1,5")).replace(",", ";").replace("1;5", "1,5").replace(";0.", ";0,"), "samples is 1"),
        (log(*rows_of(elapsed_seconds="5%")), "line 2: elapsed_seconds is 5%; it must be a number"),
        (log(*rows_of(elapsed_seconds="inf")), "line 2: elapsed_seconds is inf; it must be a number"),
        (log(*rows_of(learning_rate="-0.1")), "line 2: learning_rate is -0.1; it must be a number of at least 0"),
        (log(*rows_of(elapsed_seconds="4:00:00")), "line 2: elapsed_seconds is 4:00:00; it must be a number"),
    ],
)
def test_what_is_not_meant_so_is_refused_by_file_and_line(
    run_import: Run, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    output = run_import(text, status=2)
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert "log.csv" in complaint
    assert not list(output.rglob("config.yaml"))


def test_numbers_of_other_spellings(run_import: Run) -> None:
    """Percent signs, the column in which pandas numbers rows, tabs, CRLF and words for nothing."""
    rows = rows_of(test_accuracy=lambda epoch: f"{50 + epoch} %", learning_rate="1e-3")
    text = log(*(f"{place},{row},nan" for place, row in enumerate(rows)), header=f",{HEADER},test_loss")
    epochs = epochs_of(run_import(text.replace(",", "\t").replace("\n", "\r\n")))
    assert epochs.test_accuracy.tolist() == [0.51, 0.52]
    assert epochs.learning_rate.tolist() == [0.001, 0.001]
    assert epochs.test_loss.isna().all()


# Types


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("yaml_bracket", "optimizer.kind", "[sgd"),
        ("yaml_date", "dataset.version", "2024-01-31"),
        ("yaml_percent", "hardware.device", "%cuda"),
    ],
)
def test_words_stay_words(run_import: Run, name: str, key: str, value: str) -> None:
    assert analysis.load(run_import([LOGS / f"{name}.csv"])).runs[key].tolist() == [value]


def test_numbers_are_compared_as_numbers(run_import: Run) -> None:
    data = analysis.load(run_import([LOGS / "yaml_float.csv"], "--baseline", "fixed"))
    assert data.runs["optimizer.weight_decay"].tolist() == [0.0005] * 4
    matching = analysis.compare(data).matching
    assert (len(matching.pairs), len(matching.refused)) == (2, 0)


def test_declared_values_have_the_types_of_the_schema(run_import: Run) -> None:
    declared = {
        "device": "cuda",
        "device_model": "P100",
        "world_size": "1",
        "git_dirty": "False",
        "torch": "2.10",
        "started_at": "on",
        "num_parameters": "1e6",
        "hardware.num_threads": "4.0",
        "hardware.channels_last": "true",
        "hardware.compile": "false",
        "optimizer.momentum": ".9",
        "max_micro_batch_size": "64",
        "batch_norm": "no",
        "dataset.mean": "[0.5, 0.25, 0.5]",
        "concurrent_runs": "1",
    }
    words = [word for name, value in declared.items() for word in ("--set", f"{name}={value}")]
    output = run_import(log(*rows_of()), *words)
    path = output / CELL / "fixed" / "seed_0"
    meta = json.loads((path / "meta.json").read_text())
    assert [meta[name] for name in ("device", "world_size", "git_dirty", "torch", "started_at", "num_parameters")] == [
        "cuda", 1, False, "2.10", "on", 1_000_000,
    ]  # fmt: skip
    assert meta["launch"]["concurrent_runs"] == 1
    run = analysis.load(output).runs.iloc[0]
    assert (run["hardware.num_threads"], run["hardware.channels_last"], run["hardware.compile"]) == (4, True, False)
    assert (run["optimizer.momentum"], run["max_micro_batch_size"], run["batch_norm"]) == (0.9, 64, "no")
    assert json.loads(run["dataset.mean"]) == [0.5, 0.25, 0.5]
    assert epochs_of(output).world_size.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("world_size=two", "world_size is two; it must be a whole number"),
        ("git_dirty=maybe", "git_dirty is maybe; it must be true or false"),
        ("optimizer.momentum=1.5", "optimizer.momentum is 1.5; it must be at least 0 and less than 1"),
        ("hardware.num_threads=1.5", "hardware.num_threads is 1.5; it must be a whole number"),
        ("optimiser.momentum=0.9", "--set names optimiser.momentum; it must be"),
        ("test_accuracy=0.9", "test_accuracy is not the same in all epochs; it must be a column"),
        ("arm", "--set is arm; it must be NAME=VALUE"),
        ("arm=x", "has the column arm, and --set gives x; it must be one of them"),
    ],
)
def test_what_cannot_be_declared(
    run_import: Run, capsys: pytest.CaptureFixture[str], given: str, sentence: str
) -> None:
    run_import(log(*rows_of()), "--set", given, status=2)
    assert sentence in capsys.readouterr().err


# Columns


def test_columns_are_mapped_with_their_units(run_import: Run) -> None:
    header = HEADER.replace("test_accuracy", "val acc").replace("elapsed_seconds", "t,min").replace("t,min", "t")
    text = log(*(f"{row},2500" for row in rows_of(test_accuracy="51.3", elapsed_seconds=int)), header=f"{header},fwd")
    maps = ("val acc=test_accuracy:percent", "t=elapsed_seconds:minutes", "fwd=forward_seconds:ms")
    epochs = epochs_of(run_import(text, *(word for one in maps for word in ("--map", one))))
    assert epochs.test_accuracy.tolist() == [0.513, 0.513]
    assert epochs.elapsed_seconds.tolist() == [60, 120]
    assert epochs.forward_seconds.tolist() == [2.5, 2.5]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--map", "x=test_acuracy"],
            "--map names test_acuracy; it must be a column of epochs.csv, a key of",
        ),
        (["--map", "x=test_acuracy"], "Did you mean test_accuracy?"),
        (["--map", "x=test_accuracy:ms"], "the unit is ms; it must be percent."),
        (["--map", "x=updates:percent"], "the unit is percent; it must be from_zero."),
        (["--map", "x=learning_rate:percent"], "the unit is percent; it must be left out."),
        (["--map", "test_accuracy"], "--map is test_accuracy; it must be COLUMN=NAME or COLUMN=NAME:UNIT"),
        (["--map", "sample=samples"], "--map names sample; it must be a column of"),
        (["--map", "sample=samples"], "Did you mean samples?"),
        (["--map", "updates=samples"], "The columns updates and samples are both samples"),
        (["--names", "seed_0"], "--names is seed_0; it must have names in braces"),
        (["--names", "{arm}_s{seed}.csv"], "does not end like --names {arm}_s{seed}.csv"),
    ],
)
def test_what_cannot_be_mapped(
    run_import: Run, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    run_import(log(*rows_of()), *words, status=2)
    assert sentence in one_line(capsys.readouterr().err)


def test_unknown_columns_are_refused_with_the_nearest_name_or_left_out(
    run_import: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    text = log(*(f"{row},1,2" for row in rows_of()), header=f"{HEADER},forward_second,gpu_temp")
    run_import(text, status=2)
    complaint = capsys.readouterr().err
    assert "has the columns forward_second, gpu_temp; it must be" in complaint
    assert "Did you mean forward_seconds?" in complaint
    output = run_import(text, "--map", "forward_second=forward_seconds", "--ignore", "gpu_*")
    assert epochs_of(output).forward_seconds.tolist() == [1, 1]


# Epochs


def test_epochs_from_zero_are_shifted_and_rows_may_be_in_any_order(run_import: Run) -> None:
    rows = rows_of(epochs=3, epoch=lambda epoch: epoch - 1)
    epochs = epochs_of(run_import(log(*rows[::-1])))
    assert epochs.epoch.tolist() == [1, 2, 3]
    assert epochs.updates.tolist() == [10, 20, 30]


def test_a_row_before_training_is_no_epoch(run_import: Run) -> None:
    before = "fixed,0,cifar10,resnet20,0,0,0,100,0.1,0.1,0"
    assert epochs_of(run_import(log(before, *rows_of()))).epoch.tolist() == [1, 2]


def test_all_runs_of_a_file_count_alike(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that lost its first epoch is not taken for one that counts from 1."""
    whole = rows_of(epochs=3, epoch=lambda epoch: epoch - 1)
    torn = rows_of(seed=1, epochs=3, epoch=lambda epoch: epoch - 1)[1:]
    output = run_import(log(*whole, *torn), status=1)
    assert "the epochs are 1 to 2 without 0; they must be all from 0 on" in capsys.readouterr().err
    assert [path.name for path in (output / CELL / "fixed").iterdir()] == ["seed_0"]


def test_rows_that_contradict_one_another_are_repeats_or_an_error(
    run_import: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = rows_of(), rows_of(elapsed_seconds=lambda epoch: 11 * epoch)
    run_import(log(*first, *second), status=2)
    complaint = capsys.readouterr().err
    assert "epoch 1 has elapsed_seconds 10 and 11" in complaint
    assert "log.csv, line 2 and" in complaint
    assert "a column repeat must tell them apart" in complaint
    rows = [f"{row},a" for row in first] + [f"{row},b" for row in second]
    output = run_import(log(*rows, header=f"{HEADER},run_id"))
    assert epochs_of(output, folder="seed_0").elapsed_seconds.tolist() == [10, 20]
    assert epochs_of(output, folder="seed_0-2").elapsed_seconds.tolist() == [11, 22]


def test_what_is_assumed_of_several_runs_is_said_once(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row for seed in range(5) for row in rows_of(seed=seed, forward_seconds=lambda epoch: "" if epoch == 1 else 3)
    ]
    run_import(log(*rows, header=f"{HEADER},forward_seconds"))
    names = ", ".join(f"{CELL}/fixed/seed_{seed}" for seed in range(3))
    said = f"{names} and 2 more: forward_seconds is missing in 1 of 2 epochs, and left out as unknown.\n"
    assert capsys.readouterr().err == said


def test_missing_numbers_follow_from_batch_size_and_samples_per_epoch(
    run_import: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "epoch,batch_size,lr_now,test_accuracy\n1,100,0.1,0.5\n2,200,0.1,0.6\n"
    words = (
        *SMALL,
        "--map",
        "lr_now=learning_rate",
        "--set",
        "samples_per_epoch=1050",
        "--set",
        "seconds_per_epoch=10",
    )
    epochs = epochs_of(run_import(text, *words))
    assert epochs.samples.tolist() == [1050, 2100]
    assert epochs.updates.tolist() == [11, 17]  # 10 of 100 and one of 50; 5 of 200 and one of 50
    assert epochs.elapsed_seconds.tolist() == [10, 20]
    assert "an epoch's last, smaller batch is taken for an update" in capsys.readouterr().err
    run_import(text, *words, "--set", "repeat=2", status=2)  # its folder is taken
    dropped = (*words, "--set", "cell=dropped", "--set", "dataset.partial_batch=drop")
    epochs = epochs_of(run_import(text, *dropped), cell="dropped")
    assert epochs.samples.tolist() == [1000, 2000]
    assert epochs.updates.tolist() == [10, 15]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"batch_size": 50}, "epoch 1 has 1000 samples in 10 updates, and batch_size is 50; it must be the samples of"),
        ({"samples": lambda epoch: 1000 + 500 * (epoch - 1)}, "epochs have 500 to 1000 samples; they must not differ"),
        ({"updates": "1.5"}, "updates is 1.5; it must be a whole number"),
        ({"elapsed_seconds": lambda epoch: 30 - 10 * epoch}, "elapsed_seconds does not rise from epoch to epoch"),
        ({"epoch": 1.5}, "epoch is 1.5; it must be a whole number"),
    ],
)
def test_what_cannot_have_been_is_refused(
    run_import: Run, capsys: pytest.CaptureFixture[str], values: dict[str, Any], sentence: str
) -> None:
    run_import(log(*rows_of(**values)), status=2)
    assert sentence in capsys.readouterr().err


def test_a_span_that_some_epochs_lack_is_unknown(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{row},{seconds}" for row, seconds in zip(rows_of(), ("4", ""), strict=True)]
    output = run_import(log(*rows, header=f"{HEADER},forward_seconds"))
    assert "forward_seconds is missing in 1 of 2 epochs, and left out as unknown" in capsys.readouterr().err
    assert analysis.load(output).runs.forward_seconds.isna().all()


def test_memory_is_read_in_its_unit_and_may_be_known_of_some_epochs(run_import: Run) -> None:
    rows = [f"{row},{memory}" for row, memory in zip(rows_of(), ("0.1", ""), strict=True)]
    output = run_import(log(*rows, header=f"{HEADER},mem"), "--map", "mem=peak_memory_bytes:GiB")
    # 0.1 * 2**30 = 107,374,182.4
    assert analysis.load(output).epochs.peak_memory_bytes.fillna(-1).tolist() == [107374182, -1]


@pytest.mark.parametrize(("memory", "allowed"), [("0", "at least 1"), ("1.5", "a whole number")])
def test_memory_that_cannot_have_been_is_refused(
    run_import: Run, capsys: pytest.CaptureFixture[str], memory: str, allowed: str
) -> None:
    run_import(log(*(f"{row},{memory}" for row in rows_of()), header=f"{HEADER},peak_memory_bytes"), status=2)
    assert f"peak_memory_bytes is {memory}; it must be {allowed}" in capsys.readouterr().err


# Runs


def test_one_bad_run_does_not_stop_the_others(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*rows_of(seed=0), *rows_of(seed=1, learning_rate=""), *rows_of(seed="2" * 23), *rows_of(arm="a" * 400)]
    output = run_import(log(*rows), status=1)
    complaint = capsys.readouterr().err
    assert "cifar10-resnet20/fixed/seed_1 is left out: it lacks learning_rate" in complaint
    assert f"seed is {'2' * 23}; it must be a whole number of at most 64 bits" in complaint
    assert "File name too long" in complaint
    assert analysis.load(output).runs.seed.tolist() == [0]
    assert not list(output.rglob(".*"))


def test_one_bad_file_does_not_stop_the_others(
    run_import: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "good.csv").write_text(log(*rows_of()))
    output = run_import([tmp_path / "bad.csv", tmp_path / "good.csv", tmp_path / "none.csv"], status=1)
    complaint = capsys.readouterr().err
    assert "bad.csv cannot be read" in complaint
    assert "none.csv cannot be read" in complaint
    assert len(analysis.load(output).runs) == 1


def test_each_cell_may_have_a_baseline_of_its_own(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*rows_of("fixed"), *rows_of("grown"), *rows_of("base", network="vgg"), *rows_of("grown", network="vgg")]
    run_import(log(*rows), "--baseline", "fixed", status=2)
    assert "--baseline is fixed for cifar10-vgg; it must be one of base, grown" in capsys.readouterr().err
    output = run_import(log(*rows), "--baseline", "fixed", "--baseline", "cifar10-vgg=base")
    matching = analysis.compare(analysis.load(output)).matching
    assert matching.baselines == {CELL: "fixed", "cifar10-vgg": "base"}


def test_a_column_may_name_the_baselines(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{row},base" for row in (*rows_of("base"), *rows_of("grown"))]
    output = run_import(log(*rows, header=f"{HEADER},baseline"))
    assert set(analysis.load(output).runs.baseline) == {"base"}
    wrong = [row.replace("base", "gone") for row in rows[2:]]
    run_import(log(*wrong, header=f"{HEADER},baseline"), status=2)
    assert "The column baseline is gone for cifar10-resnet20; it must be one of base, grown" in capsys.readouterr().err
    run_import(log(*rows, header=f"{HEADER},baseline"), "--baseline", "base", status=2)
    assert "a column baseline is there; it must be one of them" in capsys.readouterr().err


def test_imported_runs_are_found_by_device_and_world_size_as_others_are(run_import: Run) -> None:
    output = run_import(log(*rows_of()), "--set", "device=cuda", "--set", "world_size=1")
    assert len(analysis.load(output).select(device=["cuda"], world_size=[1]).runs) == 1


# Only the end is known

ENDS = """arm,seed,dataset,network,final,seconds,num_epochs
fixed,0,cifar10,resnet20,0.75,100,50
fixed,1,cifar10,resnet20,0.5,100,50
grown,0,cifar10,resnet20,0.5,50,50
grown,1,cifar10,resnet20,0.625,25,50
"""
MAP_ENDS = ("--map", "final=test_accuracy", "--map", "seconds=elapsed_seconds", "--results-only", "--baseline", "fixed")


def test_runs_of_which_only_the_end_is_known(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    output = run_import(ENDS, *MAP_ENDS)
    data = analysis.load(output)
    assert data.runs.damage.isna().all()
    assert data.runs.results_only.eq(True).all()
    assert data.epochs.epoch.tolist() == [50] * 4
    assert data.runs.best_test_accuracy.isna().all()
    comparison = analysis.compare(data)
    total = comparison.speedup.query("quantity == 'total'").iloc[0]
    assert total.value == pytest.approx((2 * 4) ** 0.5)  # seeds 100 / 50 and 100 / 25
    row = comparison.quality.query("arm == 'grown'").iloc[0]
    assert row.difference == pytest.approx(-6.25)  # seeds -25 and 12.5
    assert comparison.target.n.tolist() == [0]
    capsys.readouterr()
    assert main(["tables", str(output)]) == 0
    shown = one_line(capsys.readouterr().out)
    assert "only the ends of its runs are known: they are in no curve and no time to the target" in shown
    assert main(["report", str(output), "-o", str(output / "report.html")]) == 0


def test_runs_with_and_without_their_epochs_are_not_compared(run_import: Run) -> None:
    run_import("".join(line for line in ENDS.splitlines(keepends=True) if not line.startswith("grown")), *MAP_ENDS)
    output = run_import(log(*rows_of("grown")), "--set", "num_epochs=2")
    refused = analysis.compare(analysis.load(output)).matching.refused
    assert "results_only" in set(refused.key)


def test_a_row_of_the_last_epoch_alone_is_damage_where_it_is_not_marked(run_import: Run) -> None:
    output = run_import(ENDS, *MAP_ENDS)
    for name, changed in (("0", {"results_only": False}), ("1", {"source": "adabatch"})):
        file = output / CELL / "fixed" / f"seed_{name}" / "meta.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    damage = analysis.load(output / CELL / "fixed").runs.damage
    assert damage.str.contains("epochs.csv counts the epochs").all()


def test_ends_without_what_they_need_are_refused(run_import: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_import(ENDS, *MAP_ENDS[:4], status=2)
    assert "lacks epoch (--map COLUMN=epoch, or --results-only for one row a run)" in capsys.readouterr().err
    run_import(ENDS.replace(",num_epochs", ",epochs_"), *MAP_ENDS, "--ignore", "epochs_", status=2)
    assert "lacks num_epochs (--set num_epochs=100)" in capsys.readouterr().err
    run_import(ENDS + "fixed,0,cifar10,resnet20,0.25,90,50\n", *MAP_ENDS, status=1)
    assert "a run has one row. If these are several runs of one seed, a column repeat" in capsys.readouterr().err


# When the learning rate was logged

GROWING: dict[str, Any] = {
    "batch_size": lambda epoch: 100 if epoch < 3 else 200,
    "updates": lambda epoch: (0, 10, 20, 25, 30)[epoch],
}


def pair_logged(at: str) -> str:
    """Return a pair that matches, batch and rate times 2 against a rate halved, in the log of epochs 1 to 4."""
    shift = {"start": -1, "end": 0, "next": 1}[at]

    def fixed_rate(epoch: int) -> float:
        return 0.1 if epoch + shift < 3 else 0.05

    def grown_rate(epoch: int) -> float:
        return 0.1

    grown = rows_of("grown", epochs=4, learning_rate=grown_rate, **GROWING)
    return log(*rows_of("fixed", epochs=4, learning_rate=fixed_rate), *grown)


def test_rates_of_the_last_update_match(run_import: Run) -> None:
    comparison = analysis.compare(analysis.load(run_import(pair_logged("end"), "--baseline", "fixed")))
    assert (len(comparison.matching.pairs), comparison.matching.marks.keys()) == (1, {(CELL, "grown", "fixed")})


@pytest.mark.parametrize("at", ["start", "next"])
def test_rates_logged_at_another_time_are_refused_with_a_hint_and_shifted_when_told(
    run_import: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    wrong = run_import(pair_logged(at), "--baseline", "fixed")
    capsys.readouterr()
    assert main(["tables", str(wrong)]) == 1
    assert f"import it with --learning-rate-at {at}" in one_line(capsys.readouterr().out)
    wrong.rename(tmp_path / "wrong")
    output = run_import(pair_logged(at), "--baseline", "fixed", "--learning-rate-at", at)
    assert epochs_of(output).learning_rate.tolist() == [0.1, 0.1, 0.05, 0.05]
    comparison = analysis.compare(analysis.load(output))
    assert len(comparison.matching.pairs) == 1
    assert not any("--learning-rate-at" in mark for marks in comparison.matching.marks.values() for mark in marks)


def test_rates_that_differ_otherwise_have_no_hint(run_import: Run) -> None:
    text = log(*rows_of("fixed", epochs=4), *rows_of("grown", epochs=4, **GROWING))
    matching = analysis.compare(analysis.load(run_import(text, "--baseline", "fixed"))).matching
    assert list(matching.refused.key) == ["learning_rate_per_sample"]
    assert not matching.marks


# Layouts


def test_lightning(run_import: Run) -> None:
    files = sorted((LOGS / "lightning").rglob("metrics.csv"))
    output = run_import(files, "--names", "{arm}/seed_{seed}/metrics.csv", *WHOSE, *MEASURE)
    small, grown = epochs_of(output, "small"), epochs_of(output, "grown")
    assert small.updates.tolist() == [10, 20]
    assert small.test_accuracy.tolist() == [0.5, 0.625]
    assert small.train_loss.tolist() == [1.9, 1.3]
    assert small.learning_rate.tolist() == [0.1, 0.05]
    assert (grown.updates.tolist(), grown.batch_size.tolist()) == ([10, 15], [100, 200])
    assert len(analysis.compare(analysis.load(output), baseline="small").matching.pairs) == 1


def test_keras(run_import: Run) -> None:
    epochs = epochs_of(run_import([LOGS / "keras/training.csv"], *SMALL, *MEASURE, "--set", "batch_size=128"))
    assert epochs.updates.tolist() == [8, 16, 24]  # 7 of 128 and one of 104
    assert epochs.test_accuracy.tolist() == [0.5, 0.625, 0.75]
    assert epochs.train_accuracy.tolist() == [0.45, 0.6, 0.7]
    assert epochs.test_loss.tolist() == [1.4, 1.1, 0.8]
    assert epochs.learning_rate.tolist() == [0.1, 0.05, 0.025]
    assert epochs.elapsed_seconds.tolist() == [10, 20, 30]


def test_timm(run_import: Run) -> None:
    epochs = epochs_of(run_import([LOGS / "timm/summary.csv"], *SMALL, *MEASURE, "--set", "batch_size=100"))
    assert epochs.test_accuracy.tolist() == [0.125, 0.25]
    assert epochs.test_top5_accuracy.tolist() == [0.3025, 0.5]
    assert epochs.learning_rate.tolist() == [0.5, 0.25]
    assert epochs.updates.tolist() == [10, 20]


def test_hugging_face(run_import: Run) -> None:
    words = (*SMALL, "--set", "batch_size=8", "--set", "samples_per_epoch=80", "--set", "seconds_per_epoch=20")
    output = run_import([LOGS / "huggingface/trainer_state.json"], *words)
    epochs = epochs_of(output)
    assert epochs.updates.tolist() == [10, 20]
    assert epochs.learning_rate.tolist() == [5e-5, 0.0]
    assert epochs.test_accuracy.tolist() == [0.5, 0.625]
    assert epochs.test_seconds.tolist() == [1.5, 1.25]
    assert epochs.train_loss.isna().all()  # two means of half an epoch each
    assert analysis.load(output).runs.num_epochs.tolist() == [2]


def test_wandb_exports_of_several_metrics_are_joined(run_import: Run) -> None:
    files = sorted((LOGS / "wandb").glob("*.csv"))
    words = ("--names", "{arm}_s{seed}", "--map", "runtime=elapsed_seconds", "--set", "samples_per_epoch=1000")
    output = run_import(files, *words, *WHOSE)
    fixed, grown = epochs_of(output), epochs_of(output, "grown")
    assert fixed.test_accuracy.tolist() == [0.5, 0.75]
    assert (fixed.elapsed_seconds.tolist(), grown.elapsed_seconds.tolist()) == ([10, 20], [8, 12])
    assert (fixed.updates.tolist(), grown.updates.tolist()) == ([10, 20], [10, 15])


@pytest.mark.parametrize(
    ("name", "title", "missing"),
    [
        ("keras", "Keras' CSVLogger", ["--set arm=NAME", "--set batch_size=128", "--set samples_per_epoch=50000"]),
        ("lightning", "Lightning's CSVLogger", ["--set seed=0", "--set batch_size=128", "seconds_per_epoch=30"]),
        ("wandb_ui", "wandb's CSV export", ["--names", "fixed_s0"]),
    ],
)
def test_what_a_layout_lacks_is_named_with_how_to_give_it(
    run_import: Run, capsys: pytest.CaptureFixture[str], name: str, title: str, missing: list[str]
) -> None:
    run_import([LOGS / f"{name}.csv"], status=2)
    complaint = capsys.readouterr().err
    assert title in complaint
    for words in missing:
        assert words in complaint
    assert len(complaint.splitlines()) == 1


def test_the_small_cases_of_layouts_with_what_they_lack(run_import: Run, tmp_path: Path) -> None:
    lightning = ("--set", "batch_size=100", "--set", "learning_rate=0.1")
    output = run_import([LOGS / "lightning.csv"], *SMALL, *MEASURE, *lightning)
    epochs = epochs_of(output)
    assert (epochs.updates.tolist(), epochs.test_accuracy.tolist()) == ([10, 20], [0.5, 0.6])
    output.rename(tmp_path / "lightning")
    output = run_import([LOGS / "keras.csv"], *SMALL, *MEASURE, *lightning)
    assert epochs_of(output).test_accuracy.tolist() == [0.4, 0.5]
    output.rename(tmp_path / "keras")
    words = ("--names", "{arm}_s{seed}", *WHOSE, *MEASURE, *lightning)
    assert epochs_of(run_import([LOGS / "wandb_ui.csv"], *words)).test_accuracy.tolist() == [0.5]


# The documentation


def commands() -> list[str]:
    section = DOCS.read_text().partition("## Logs of other trainers")[2].partition("\n## ")[0]
    joined = section.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith("adabatch import-csv ")]


def test_the_documentation_has_a_command_for_each_layout() -> None:
    assert len(commands()) >= 7


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_documentation_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(LOGS)
    words = shlex.split(command)[1:]
    words[words.index("-o") + 1] = str(tmp_path / "runs")
    files = [
        str(path) for word in words for path in (sorted(Path().glob(word)) if "*" in word and "/" in word else [word])
    ]
    assert main(files) == 0, capsys.readouterr().err
    data = analysis.load(tmp_path / "runs")
    assert data.runs.damage.isna().all()
