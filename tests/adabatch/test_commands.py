"""``python -m adabatch`` as a user calls it: help, bad input, exit statuses."""

import os
import signal
import subprocess
import time

import pytest

from adabatch.config.compose import compose, option_names
from adabatch.config.schema import GROUPS
from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from tests.adabatch.support import TINY, adabatch_command, read_rows, run_command

pytestmark = pytest.mark.slow


def test_help_names_every_group_and_option(tmp_path):
    answer = run_command("--help", cwd=tmp_path)
    assert answer.returncode == 0
    for group in GROUPS:
        for option in option_names(group):
            assert option in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_multirun_makes_one_directory_per_seed_and_nothing_else(tmp_path):
    answer = run_command("-m", "seed=1,2", *TINY, "num_epochs=1", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    runs = sorted((tmp_path / "runs" / "single" / "synthetic-tiny_cnn").iterdir())
    assert ["seed_1" in runs[0].name, "seed_2" in runs[1].name] == [True, True]
    assert all((run / "DONE").exists() for run in runs)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("network=resnet21", "network is resnet21; it must be one of alexnet, .* Did you mean resnet"),
        ("schedule=adabtch", "Did you mean adabatch?"),
        ("num_epochs=0", "num_epochs is 0; it must be at least 1."),
        ("num_epochs=many", r"num_epochs is many; it must be a whole number"),
        ("num_epochs=2.5", "num_epochs is 2.5; it must be a whole number"),
        ("schedule.batch_size=null", "schedule.batch_size is null; it must be a whole number"),
        ("dataset.download=maybe", "dataset.download is maybe; it must be true or false."),
        ("optimizer.learning_rate=[1]", r"optimizer.learning_rate is \[1\]; it must be a number"),
        ("schedule.milestones=3", "schedule.milestones is 3; it must be null or a list of whole numbers"),
        ("network=null", "network is null; it must be the name of one of its options, a text."),
        ("dataset=7", "dataset is 7; it must be the name of one of its options"),
        ("num_epochs=4,", "num_epochs=4, cannot be read; the value must be a word, a number, null"),
        ("schedule.batch_size=-3", "schedule.batch_size is -3; it must be at least 1 sample."),
        ("schedule.bach_size=3", "unknown key schedule.bach_size.*Did you mean batch_size?"),
        ("+colour=red", "unknown key colour; .*cannot add one"),
        ("+schedule.colour=red", "unknown key schedule.colour; .*cannot add one"),
        ("max_micro_batch_size=0", "max_micro_batch_size is 0; it must be null, auto or at least 1."),
        ("max_micro_batch_size=some", "max_micro_batch_size is some"),
        ("hardware.precision=fp8", "hardware.precision is fp8; it must be one of fp32, tf32, bf16, fp64."),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate is nan; it must be a positive number."),
        ("dataset.partial_batch=pad", "dataset.partial_batch is pad; it must be one of keep, drop."),
        ("network.name=resnet21", "network.name is resnet21.*resnet20"),
    ],
)
def test_a_wrong_value_costs_one_sentence(override, sentence):
    with pytest.raises(ConfigError, match=sentence) as refused:
        compose([override])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("words", [("num_epochs=0",), ("network=nowhere",), ("+a=1",), ("num_epochs",), ("--wrong",)])
def test_a_wrong_call_exits_with_2_and_no_traceback(words, tmp_path):
    answer = run_command(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert answer.stderr.strip()


def test_a_users_own_options_are_found(tmp_path):
    (tmp_path / "options" / "schedule").mkdir(parents=True)
    (tmp_path / "options" / "schedule" / "mine.yaml").write_text(
        "defaults: [base_stepwise, _self_]\nbatch_size: 5\nevery_epochs: 3\n"
    )
    assert compose(["schedule=mine"], tmp_path / "options").schedule.batch_size == 5
    answer = run_command("--config-dir", "options", "schedule=mine", "--cfg", "job", cwd=tmp_path)
    assert answer.returncode == 0
    assert "batch_size: 5" in answer.stdout


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGUSR2, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_finishes(number, status, tmp_path):
    # Small batches, so that the run is far from its end when the signal comes.
    words = (*TINY, "num_epochs=60", "schedule.batch_growth=1", "schedule.batch_size=1", "run_dir=run")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(adabatch_command(*words), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    run_dir = RunDir(tmp_path / "run")
    while not (run_dir.log.exists() and "epoch 2/60" in run_dir.log.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == status
    assert run_dir.checkpoint.exists()
    assert 2 <= len(read_rows(run_dir)) < 60
    assert run_command(*words, cwd=tmp_path).returncode == 0
    assert [int(row["epoch"]) for row in read_rows(run_dir)] == list(range(1, 61))
