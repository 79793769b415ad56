"""Every file of conf/ composes, survives saving, and needs no torch."""

import subprocess
import sys

import pytest

from adabatch.config import (
    CONF_DIR,
    config_hash,
    from_dict,
    load_config,
    save_config,
    to_dict,
)
from adabatch.config.compose import compose, composer, option_names
from adabatch.config.schema import GROUPS
from adabatch.data.names import size_module
from adabatch.errors import ConfigError
from adabatch.schedules import tabulate

OPTIONS = [
    (group, option)
    for group in (*GROUPS, "checkpoint")
    for option in option_names(group)
    if (group, option) != ("dataset", "by_path") and size_module({"name": option}) is None  # those read the data
]


@pytest.fixture(scope="module", autouse=True)
def hydra():
    with composer():
        yield


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_survives_saving(group, option, tmp_path):
    own = [f"{group}.path=my_module:Mine"] if option == "by_path" else []
    config = compose([f"{group}={option}", *own])
    save_config(config, tmp_path / "config.yaml")
    loaded = load_config(tmp_path / "config.yaml")
    assert loaded == config
    assert type(loaded.schedule) is type(config.schedule)
    assert config_hash(loaded) == config_hash(config)


def test_no_group_of_conf_is_left_out():
    groups = {path.name for path in CONF_DIR.iterdir() if path.is_dir()}
    assert groups == {*GROUPS, "checkpoint", "sweep", "cluster"}


@pytest.mark.parametrize("option", [name for name in option_names("schedule") if name != "by_path"])
def test_every_schedule_option_has_a_plan_and_a_twin(option):
    config = compose([f"schedule={option}", "num_epochs=200"])
    schedule = config.schedule.build(0.1, 60_000, 200)
    rows = tabulate(schedule, 200, 60_000, "keep")
    assert len(rows) == 200
    fixed = tabulate(config.schedule.twin().build(0.1, 60_000, 200), 200, 60_000, "keep")
    assert {row.batch_size for row in fixed} == {config.schedule.batch_size}
    if option != "fixed":
        assert sum(row.num_updates for row in rows) < sum(row.num_updates for row in fixed)


def test_the_hash_leaves_out_what_cannot_change_a_result():
    config = compose([])
    same = compose(["tracker=wandb", "run_dir=elsewhere", "dataset.root=there", "checkpoint.every_seconds=1"])
    assert config_hash(config) == config_hash(same)
    for override in ("seed=1", "max_micro_batch_size=64", "hardware.precision=bf16", "schedule.batch_size=64"):
        assert config_hash(compose([override])) != config_hash(config)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values.pop("seed"), "the config lacks seed"),
        (lambda values: values.update(colour="red"), "the config's key is colour"),
        (lambda values: values["network"].update(depth=3), "network's key is depth"),
        (lambda values: values["schedule"].update(kind="loop"), "schedule.kind is loop; it must be one of stepwise"),
        (lambda values: values.update(dataset=3), "dataset is 3; it must be a mapping"),
        (lambda values: values.update(num_epochs=None), "wrong type"),
    ],
)
def test_a_damaged_saved_config_is_refused_by_name(change, sentence):
    values = to_dict(compose([]))
    change(values)
    with pytest.raises(ConfigError, match=sentence):
        from_dict(values)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist"), ("a: [", "cannot be read as YAML"), ("- 1", "holds no mapping")],
)
def test_a_saved_config_that_is_none(content, sentence, tmp_path):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        load_config(path)


def test_torchvision_networks_go_with_any_number_of_channels():
    assert compose(["network=torchvision", "dataset=imagenet"]).network.name == "torchvision.resnet50"
    assert compose(["network=torchvision", "dataset=fashion_mnist"]).network.name == "torchvision.resnet50"


@pytest.mark.slow
def test_composing_needs_no_torch():
    code = (
        "import sys, adabatch.config.compose, adabatch.schedules.batching, adabatch.schedules.trajectory, adabatch.run;"
        "adabatch.config.compose.compose(['network=vgg19_bn']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
