"""A text means the same on the command line, in an option file, in a sweep, in its grid, and in a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adabatch.config.compose import compose
from adabatch.config.keys import KEYS, flatten
from adabatch.config.saved import to_dict
from adabatch.errors import ConfigError
from analysis.imports.text import parse_value
from launch.config import load_cluster, load_sweep
from launch.expand import expand
from tests.launch.support import TINY, write_sweep

_BASE = ("network=tiny_cnn", "dataset=digits", "optimizer.momentum=0.5")


def by_option_file(folder: Path, key: str, text: str) -> Any:
    group, _, name = key.partition(".")
    path = folder / group / "mine.yaml"
    path.parent.mkdir()
    default = {"optimizer": "sgd", "tracker": "none", "hardware": "cpu"}[group]
    path.write_text(f"defaults: [{default}, _self_]\n{name}: {text}\n")
    return flatten(to_dict(compose([f"{group}=mine", *_BASE], folder)))[key]


def by_sweep(folder: Path, key: str, text: str) -> Any:
    arms = "arms: {a: [schedule=fixed, schedule.batch_size=8]}"
    words = f"{TINY[:-1]}, optimizer.momentum=0.5, '{key}={text}']"
    write_sweep(folder, "mine", f"name: mine\noverrides: {words}\nbaseline: a\n{arms}\n")
    [run] = expand(load_sweep("mine", {}, folder), [], folder / "runs", folder).runs
    return flatten(to_dict(run.config))[key]


def by_grid(folder: Path, key: str, text: str) -> Any:
    arms = "arms: {a: [schedule=fixed, schedule.batch_size=8, optimizer.momentum=0.5]}"
    grid = f"grid: {{{key}: [{text}]}}"
    write_sweep(folder, "mine", f"name: mine\noverrides: {TINY}\nbaseline: a\n{arms}\n{grid}\n")
    [run] = expand(load_sweep("mine", {}, folder), [], folder / "runs", folder).runs
    return flatten(to_dict(run.config))[key]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optimizer.nesterov", "yes", True),
        ("optimizer.nesterov", "OFF", False),
        ("optimizer.weight_decay", "5e-4", 0.0005),
        ("optimizer.weight_decay", "-0.0", 0.0),
        ("optimizer.weight_decay", "7", 7.0),
        ("hardware.num_threads", "2e1", 20),
        ("hardware.num_threads", "3.0", 3),
        ("tracker.notes", "null", None),
    ],
)
def test_a_text_means_the_same_on_every_route(key, text, value, tmp_path: Path):
    found = [route(tmp_path, key, text) for route in (by_option_file, by_sweep, by_grid)]
    found.append(flatten(to_dict(compose([*_BASE, f"{key}={text}"])))[key])
    found.append(parse_value(text, KEYS[key].declared))
    assert found == [value] * 5


@pytest.mark.parametrize("values", ["[0.1, 1e-1]", "[100, 1.0e+2]", "[0, -0.0]", "['0.50', 0.5]", "[0.3, 0.1, 3E-1]"])
def test_values_of_a_grid_that_are_equal_as_numbers_are_refused(values, tmp_path: Path):
    grid = f"grid: {{optimizer.weight_decay: {values}}}"
    write_sweep(tmp_path, "mine", f"name: mine\noverrides: {TINY}\nbaseline: a\narms: {{a: []}}\n{grid}\n")
    with pytest.raises(ConfigError, match="sweep.grid.optimizer.weight_decay is .* without duplicates"):
        load_sweep("mine", {}, tmp_path)


def test_texts_of_a_sweep_keep_spaces_and_quotes(tmp_path: Path):
    root = "it's a  'place' \\"
    grid = f'grid: {{dataset.root: ["{root[:-1]}{root[-1] * 2}"]}}'
    write_sweep(tmp_path, "mine", f"name: mine\noverrides: {TINY}\nbaseline: a\narms: {{a: []}}\n{grid}\n")
    sweep = load_sweep("mine", {}, tmp_path)
    assert sweep.grid["dataset.root"] == [root]
    with pytest.raises(ConfigError, match="the folder name .*it.*s a  .* is not allowed"):
        expand(sweep, [], tmp_path / "runs", tmp_path)


def test_a_number_for_a_text_of_a_cluster_stays_as_it_is_written() -> None:
    assert load_cluster("slurm", {"partition": "0012", "account": "1e3", "qos": "null"}).partition == "0012"
    assert load_cluster("slurm", {"account": "1e3"}).account == "1e3"
    assert load_cluster("slurm", {"qos": "null"}).qos is None


@pytest.mark.parametrize("key", ["time", "sbatch.begin", "sbatch.time-min"])
@pytest.mark.parametrize("text", ["4:00:00", "10:30:00", "2-00:00:00"])
def test_a_time_of_slurm_is_the_text_that_was_written(key: str, text: str, tmp_path: Path) -> None:
    """YAML 1.1 takes 4:00:00 for 14400, a number to the base of 60."""
    first, _, rest = key.partition(".")
    written = f"{first}: {{{rest}: {text}}}" if rest else f"{first}: {text}"
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "mine.yaml").write_text(
        f"kind: slurm\ntime: 12:00:00\n{written}\n" if rest else f"kind: slurm\n{written}\n"
    )
    by_file = load_cluster("mine", {}, tmp_path)
    by_word = load_cluster("slurm", {key: text})
    found = [cluster.sbatch[rest] if rest else cluster.time for cluster in (by_file, by_word)]
    assert found == [text] * 2
