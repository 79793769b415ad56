"""From a sweep to its runs."""

from __future__ import annotations

import inspect
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from submitit.local.local import Controller

from adabatch.config import CONF_DIR, config_hash
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from launch.composition import sweep_composer
from launch.config import load_cluster, load_sweep, quick_sweep
from launch.expand import Expansion, expand
from launch.prepare import places_in_blocks, starting_order
from tests.launch.support import TINY, write_sweep

SWEEPS = sorted(path.stem for path in (CONF_DIR / "sweep").glob("*.yaml"))
CLUSTERS = sorted(path.stem for path in (CONF_DIR / "cluster").glob("*.yaml"))


@pytest.fixture
def conf(launch) -> Path:
    return launch.config_dir


def runs_of(conf, words=None, overrides=(), name="two"):
    return expand(load_sweep(name, words or {}, conf), overrides, Path("runs"), conf).runs


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes_as_single_runs_would(name):
    """What is put together from few compositions equals what Hydra composes for each run alone."""
    sweep = load_sweep(name, {})
    runs = expand(sweep, [], Path("runs")).runs
    assert len(runs) == len(sweep.seeds) * len(sweep.arms) * len({tuple(run.swept.values()) for run in runs})
    for run in runs[:: len(sweep.seeds)]:
        exceptions = [sweep.exceptions.get(f"{key}={value}", {}).get(run.arm, []) for key, value in run.swept.items()]
        grid = [f"{key}={value}" for key, value in run.swept.items()]
        words = [*sweep.overrides, *grid, *sweep.arms[run.arm], *itertools.chain(*exceptions)]
        alone = compose([*{word.split("=")[0]: word for word in words}.values(), f"seed={run.seed}"])
        assert config_hash(alone) == config_hash(run.config)


@pytest.mark.slow
def test_sweeps_of_the_paper_have_its_sizes():
    batches = {
        (run.config.network.name, run.arm): run.config.schedule.batch_size
        for run in expand(load_sweep("paper_cifar100", {}), [], Path("runs")).runs
    }
    assert batches["alexnet", "fixed_small"] == 256
    assert batches["alexnet", "fixed_large"] == 4096
    assert batches["vgg19_bn", "adaptive"] == 128
    assert batches["resnet20", "fixed_large"] == 2048


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_cluster_loads(name):
    assert load_cluster(name, {}).kind == name.partition("_")[0]  # slurm_pyxis is of the kind slurm


def test_runs_have_their_places_and_order(conf):
    words = {"grid.optimizer.learning_rate": "[0.1,0.2]", "seeds": "[3,1]"}
    runs = runs_of(conf, words)
    assert [run.name for run in runs[:4]] == [
        "synthetic-tiny_cnn/fixed,optimizer.learning_rate=0.1/seed_3",
        "synthetic-tiny_cnn/adaptive,optimizer.learning_rate=0.1/seed_3",
        "synthetic-tiny_cnn/fixed,optimizer.learning_rate=0.2/seed_3",
        "synthetic-tiny_cnn/adaptive,optimizer.learning_rate=0.2/seed_3",
    ]
    assert len(runs) == 8
    assert runs[3].baseline == "fixed,optimizer.learning_rate=0.2"
    assert runs[3].config.optimizer.learning_rate == 0.2
    assert runs[3].config.run_dir == str(Path("runs/two") / runs[3].name)
    assert [run.config.seed for run in runs] == [3, 3, 3, 3, 1, 1, 1, 1]


#: Two cells of three arms and four seeds: eight blocks of three runs.
THREE_ARMS = f"""
name: blocks
overrides: {TINY}
grid: {{network: [tiny_cnn, resnet14]}}
seeds: [5, 3, 1, 4]
baseline: small
arms:
  growing: [schedule=adabatch, schedule.batch_size=8]
  large: [schedule=fixed, schedule.batch_size=16]
  small: [schedule=fixed, schedule.batch_size=8]
"""


@pytest.fixture
def blocks(conf) -> Expansion:
    write_sweep(conf, "blocks", THREE_ARMS)
    return expand(load_sweep("blocks", {}, conf), [], Path("runs"), conf)


def arms_by_block(expansion: Expansion) -> dict[tuple[str, int], list[str]]:
    """Return the arms of each block in the order in which they start, the blocks in that order too."""
    found: dict[tuple[str, int], list[str]] = {}
    for run in starting_order(expansion.runs, places_in_blocks(expansion)):
        found.setdefault((run.cell, run.seed), []).append(run.arm)
    return found


def test_the_starting_order_is_a_permutation_block_by_block(blocks):
    order = starting_order(blocks.runs, places_in_blocks(blocks))
    assert len(order) == 24
    assert {run.run_dir for run in order} == {run.run_dir for run in blocks.runs}
    assert len({run.run_dir for run in order}) == 24
    starts = [(run.cell, run.seed) for run in order]
    # The blocks come in the order of the expansion, and no block is left before its three arms have started.
    cells = ("synthetic-resnet14", "synthetic-tiny_cnn")
    wanted = [(cell, seed) for cell in cells for seed in (5, 3, 1, 4)]
    assert starts == [block for block in wanted for _ in range(3)]
    assert all(sorted(arms) == ["growing", "large", "small"] for arms in arms_by_block(blocks).values())


def test_places_count_the_arms_of_a_block(blocks):
    places = places_in_blocks(blocks)
    assert len(places) == 24
    by_block: dict[tuple[str, int], list[int]] = {}
    for run in blocks.runs:
        by_block.setdefault((run.cell, run.seed), []).append(places[run.run_dir])
    assert [sorted(block) for block in by_block.values()] == [[0, 1, 2]] * 8


def test_every_second_seed_has_the_order_of_the_one_before_mirrored(blocks):
    arms = arms_by_block(blocks)
    for cell in ("synthetic-resnet14", "synthetic-tiny_cnn"):
        assert arms[cell, 3] == arms[cell, 5][::-1]
        assert arms[cell, 4] == arms[cell, 1][::-1]


@pytest.mark.slow
def test_the_order_within_blocks_is_random_over_pairs_of_seeds_and_cells(conf, blocks):
    seeds = ", ".join(map(str, range(40)))
    many = expand(load_sweep("blocks", {"seeds": f"[{seeds}]"}, conf), [], Path("runs"), conf)
    orders = [tuple(arms) for arms in arms_by_block(many).values()]
    # 40 free shuffles of three arms: each of the six orders is missing by chance once in 1,500 draws, and the draw
    # is the same in every test.
    assert len(set(orders)) == 6
    first = {cell: arms[0] for (cell, seed), arms in arms_by_block(many).items() if seed % 2 == 0}
    assert len(first) == 2
    by_cell = [[arms for (cell, _), arms in arms_by_block(many).items() if cell == name] for name in first]
    assert by_cell[0] != by_cell[1]


@pytest.mark.slow
def test_the_order_is_the_same_at_every_submission_and_in_every_process(conf, blocks):
    assert places_in_blocks(blocks) == places_in_blocks(expand(load_sweep("blocks", {}, conf), [], Path("runs"), conf))
    code = (
        "import sys; from pathlib import Path; from launch.config import load_sweep; from launch.expand import expand;"
        "from launch.prepare import places_in_blocks; conf = Path(sys.argv[1]);"
        "places = places_in_blocks(expand(load_sweep('blocks', {}, conf), [], Path('runs'), conf));"
        "print(*places.values())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(conf)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=CONF_DIR.parent, env=environment
    ).stdout
    assert list(map(int, answer.split())) == list(places_in_blocks(blocks).values())


def test_runs_that_are_left_out_do_not_move_the_others(blocks):
    places = places_in_blocks(blocks)
    some = [run for run in blocks.runs if run.arm != "large"]
    order = [run.run_dir for run in starting_order(blocks.runs, places) if run.arm != "large"]
    assert [run.run_dir for run in starting_order(some, places)] == order


def test_grid_of_options_makes_cells(conf):
    runs = runs_of(conf, {"grid.network": "[tiny_cnn, resnet14]", "seeds": "[0]"})
    assert [run.cell for run in runs] == ["synthetic-resnet14"] * 2 + ["synthetic-tiny_cnn"] * 2
    assert {run.arm for run in runs} == {"fixed", "adaptive"}


def test_overrides_of_the_call_win(conf):
    runs = runs_of(conf, overrides=["num_epochs=7", "schedule.max_batch_size=32"])
    assert {run.config.num_epochs for run in runs} == {7}
    assert {run.config.schedule.max_batch_size for run in runs} == {32}


def test_twin_is_generated_with_the_same_rate_per_sample(conf):
    words = {"arms.control": "twin(adaptive)", "arms.fixed": "[schedule=fixed, schedule.batch_size=64]"}
    control = next(run.config for run in runs_of(conf, words) if run.arm == "control")
    assert control.schedule.batch_size == 8
    assert control.schedule.batch_growth == 1
    assert control.schedule.learning_rate_decay == 0.375


def test_exceptions_hold_in_their_cells_only(conf):
    words = {
        "grid.network": "[tiny_cnn, resnet14]",
        "exceptions.network=resnet14": "{adaptive: [schedule.batch_size=4]}",
    }
    sizes = {(run.config.network.name, run.arm): run.config.schedule.batch_size for run in runs_of(conf, words)}
    assert sizes == {
        ("tiny_cnn", "fixed"): 8,
        ("tiny_cnn", "adaptive"): 8,
        ("resnet14", "fixed"): 8,
        ("resnet14", "adaptive"): 4,
    }


def test_users_own_options_are_found(conf):
    (conf / "network").mkdir()
    (conf / "network" / "mine.yaml").write_text("defaults: [base_network, _self_]\nname: tiny_cnn\n")
    runs = runs_of(conf, {"grid.network": "[tiny_cnn, mine]"})
    assert {run.cell for run in runs} == {"synthetic-tiny_cnn", "synthetic-mine"}


def test_option_that_reaches_outside_its_group_is_composed_by_hydra(conf):
    (conf / "tracker").mkdir()
    text = "# @package _global_\ndefaults: [base_tracker@tracker, _self_]\noptimizer: {momentum: 0.5}\n"
    (conf / "tracker" / "far.yaml").write_text(text)
    words = ["network=tiny_cnn", "dataset=digits", "tracker=far", "schedule=fixed"]
    alone = compose(words, conf)
    assert alone.optimizer.momentum == 0.5
    runs = runs_of(
        conf, {"overrides": f"[{', '.join(words)}]", "seeds": "[0]", "arms.fixed": "[schedule.batch_size=128]"}
    )
    assert config_hash(next(run.config for run in runs if run.arm == "fixed")) == config_hash(alone)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"seedz": "3"}, "unknown key sweep.seedz.*Did you mean sweep.seeds"),
        ({"seeds": "[]"}, r"sweep.seeds is \[\]; it must be a list of at least one seed"),
        ({"seeds": "[1,1]"}, "without duplicates"),
        ({"seeds": "[a]"}, r"sweep.seeds is \['a'\]; it must be a list of whole numbers such as \[0, 1, 2\]"),
        ({"seeds": "7"}, "sweep.seeds is 7; it must be a list of whole numbers"),
        ({"seeds": "[0.5]"}, r"sweep.seeds is \[0.5\]; it must be a list of whole numbers"),
        ({"seeds": "[[1]]"}, "it must be a list of whole numbers"),
        ({"seeds": "null"}, "sweep.seeds is null; it must be a list of whole numbers"),
        ({"seeds": "{a: 1}"}, "it must be a list of whole numbers"),
        ({"seeds": "[-3]"}, r"sweep.seeds is \[-3\]; it must be a list of seeds between 0 and 2147483647"),
        ({"overrides": "num_epochs=3"}, "sweep.overrides is num_epochs=3; it must be a list of texts"),
        ({"overrides": "[[num_epochs=3]]"}, "it must be a list of texts"),
        ({"grid": "[network]"}, r"sweep.grid is \['network'\]; it must be a mapping from names to values"),
        ({"grid.network": "[null]"}, r"sweep.grid.network is \[None\]; it must be a list of names of network options"),
        ({"grid.dataset": "[[digits]]"}, "it must be a list of names of dataset options"),
        ({"arms": "[fixed]"}, r"sweep.arms is \['fixed'\]; it must be a mapping from names to values"),
        ({"arms": "{128: [schedule=fixed]}"}, "names that are numbers need quotes"),
        ({"arms.x": "{schedule: fixed}"}, "sweep.arms.x is .*; it must be a list of overrides"),
        ({"exceptions": "3"}, "sweep.exceptions is 3; it must be a mapping from names to values"),
        ({"baseline": "[fixed]"}, r"sweep.baseline is \[fixed\]; it must be one of the arms"),
        ({"baseline": "null"}, "sweep.baseline is null; it must be one of the arms"),
        ({"name": "[x]"}, r"sweep.name is \[x\]; it must be a name of letters"),
        ({"target": "high"}, "sweep.target is high; it must be null or a number such as 0.925"),
        ({"margin": "null"}, "sweep.margin is null; it must be a number such as 0.5"),
        ({"smallest_effect": "2 %"}, "sweep.smallest_effect is 2 %; it must be a number such as 0.02"),
        ({"name": "../x"}, "sweep.name is ../x; .* stays within the runs folder"),
        ({"name": ".."}, "sweep.name is .."),
        ({"name": "/tmp/x"}, "sweep.name is /tmp/x"),
        ({"baseline": "none"}, "sweep.baseline is none; it must be one of the arms fixed, adaptive"),
        ({"grid.network": "[]"}, "sweep.grid.network is .* a list of at least one value"),
        ({"grid.network": "tiny_cnn"}, "sweep.grid.network is tiny_cnn"),
        ({"grid.num_epochs": "[2,2]"}, "without duplicates"),
        ({"grid.dataset.root": "[../a, ../b]"}, "folder name .* is not allowed"),
        ({"grid.seed": "[1]"}, "sets seed; it must not"),
        ({"arms.x": "twin(nobody)"}, r"sweep.arms.x is twin\(nobody\)"),
        ({"arms.x": "3"}, "sweep.arms.x is 3; it must be a list of overrides"),
        ({"arms.x": "[schedule=fixed, schedule.batch_size=8]"}, "the arms fixed and x have equal configs"),
        ({"arms.x": "[schedule=fixd]"}, "arm x: schedule is fixd; .*Did you mean fixed"),
        ({"arms.x": "[optimizer.lr=3]"}, "arm x: unknown key optimizer.lr"),
        ({"arms.x": "[+optimizer.lr=3]"}, "arm x: .*optimizer.lr"),
        ({"arms.x": "[schedule.batch_size=-1]"}, "arm x: schedule.batch_size is -1; it must be at least 1"),
        ({"arms.x": "['num_epochs=1,2']"}, "arm x: .*num_epochs=1,2"),
        ({"arms.x": "[seed=3]"}, "sweep.arms.x sets seed"),
        ({"arms.x": "[run_dir=x]"}, "sweep.arms.x sets run_dir"),
        ({"arms.x": "[nonsense]"}, "must have the form key=value"),
        ({"arms.../x": "[num_epochs=3]"}, "stays within the runs folder"),
        ({"exceptions.network=alexnet": "{}"}, "must be key=value of a value in the grid"),
        ({"exceptions.network=alexnet": "{nobody: []}"}, "arms with their own overrides"),
        ({"overrides": "[num_epochs=0]"}, "num_epochs is 0; it must be at least 1"),
    ],
)
def test_bad_sweeps_cost_a_sentence(conf, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        runs_of(conf, words)


def test_call_must_not_set_what_the_grid_sweeps(conf):
    with pytest.raises(ConfigError, match=r"the call sets num_epochs, which the grid sweeps"):
        runs_of(conf, {"grid.num_epochs": "[2,3]"}, ["num_epochs=5"])


def test_sweep_without_baseline_or_arms_is_refused(conf):
    write_sweep(conf, "bare", f"name: bare\noverrides: {TINY}\narms: {{a: []}}\n")
    with pytest.raises(ConfigError, match="sweep.baseline has no value"):
        load_sweep("bare", {}, conf)
    write_sweep(conf, "bare", f"name: bare\noverrides: {TINY}\nbaseline: a\n")
    with pytest.raises(ConfigError, match="sweep.arms is empty"):
        load_sweep("bare", {}, conf)
    write_sweep(conf, "bare", "name: [\n")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_sweep("bare", {}, conf)
    with pytest.raises(ConfigError, match="sweep is demmo; .*Did you mean demo"):
        load_sweep("demmo", {})


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("local", {"jobs": "0"}, "cluster.jobs is 0"),
        ("local", {"partition": "gpu"}, "cluster.partition is gpu; it must be left out where cluster.kind is local"),
        ("local", {"kind": "pbs"}, "cluster.kind is pbs; it must be one of local, slurm"),
        ("slurm", {"timeout_min": "null"}, "cluster.timeout_min is null"),
        (
            "slurm",
            {"timeout_min": "2"},
            "cluster.signal_delay_s is 120; it must be between 10 and less than 120, .* cluster.timeout_min=2",
        ),
        (
            "local",
            {"timeout_min": "1"},
            "cluster.signal_delay_s is 120; it must be between 10 and less than 60, .* cluster.timeout_min=1",
        ),
        ("local", {"timeout_min": "1", "signal_delay_s": "0"}, "cluster.signal_delay_s is 0"),
        ("slurm", {"memory_gb": "-1"}, "cluster.memory_gb is -1"),
        ("slurm", {"memory_gb": "much"}, "cluster.memory_gb is much; it must be null or a number"),
        ("slurm", {"setup": "module load cuda"}, r"it must be a list of texts such as \[module load cuda\]"),
        ("local", {"jobs": "true"}, "cluster.jobs is true; it must be a whole number"),
        ("local", {"jobs": "1.5"}, "cluster.jobs is 1.5; it must be a whole number"),
        ("slurm", {"account": '"a\\nb"'}, "cluster.account is .*one line"),
        ("slurm", {"setup": '["a\\nb"]'}, "cluster.setup"),
        ("slurm", {"runs_per_job": "0"}, "cluster.runs_per_job is 0"),
        ("slurm", {"partitoin": "x"}, "Did you mean cluster.partition"),
        ("slrm", {}, "cluster is slrm; it must be one of .*Did you mean slurm"),
    ],
)
def test_bad_clusters_cost_a_sentence(name, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_cluster(name, words)


def test_a_local_job_is_promised_as_many_retries_as_submitit_grants():
    retries = inspect.signature(Controller.run).parameters["max_retry"].default - 1
    assert load_cluster("local", {"max_retries": str(retries)}).max_retries == retries
    sentence = f"cluster.max_retries is {retries + 1}; it must be at most {retries} where cluster.kind is local"
    with pytest.raises(ConfigError, match=sentence):
        load_cluster("local", {"max_retries": str(retries + 1)})


@pytest.mark.slow
def test_a_thousand_runs_expand_without_torch():
    """The number is of the design; the time is printed by docs/sweeps.md's command, not asserted here."""
    code = (
        "import sys; from pathlib import Path; from launch.config import load_sweep; from launch.expand import expand;"
        "decays = '[' + ','.join(str(i / 10000) for i in range(1, 19)) + ']';"
        "sweep = load_sweep('paper_cifar100', {'grid.optimizer.weight_decay': decays});"
        "print(len(expand(sweep, [], Path('runs')).runs), 'torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONF_DIR.parent
    )
    assert answer.stdout.split() == ["1080", "False"]


def test_every_sweep_is_headed_by_its_command_and_its_needs():
    for name in SWEEPS:
        text = (CONF_DIR / "sweep" / f"{name}.yaml").read_text()
        head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        assert f"adabatch submit sweep={name}" in head
        assert "# Needs: " in head
        assert "Costs: " in head
        assert yaml.safe_load(text)["name"] == name


def test_sizes_that_are_read_off_the_data_are_those_of_a_single_run(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("L", (8, 8), 100).save(tmp_path / split / name / "1.png")
    words = ["dataset=image_folder", f"dataset.root={tmp_path}", "network=tiny_cnn"]
    with sweep_composer(None) as composer:
        config = composer.compose(words)
    assert config == compose(words)
    assert config.dataset.num_train_samples == 2


def test_a_quick_look_at_a_sweep_runs_every_arm_once(conf, tmp_path):
    sweep = quick_sweep(load_sweep("demo", {"grid.network": "[tiny_cnn,resnet14]"}, conf))
    expansion = expand(sweep, [], tmp_path, conf)
    assert expansion.folder == tmp_path / "demo-quick"
    assert [run.arm for run in expansion.runs] == list(sweep.arms)
    assert {run.seed for run in expansion.runs} == {0}
    assert {run.config.network.name for run in expansion.runs} == {"tiny_cnn"}
    assert {run.config.dataset.num_train_samples for run in expansion.runs} == {256}
