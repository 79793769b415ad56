"""Cluster files: time limits, options that are passed on to sbatch and srun, typed GPUs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.files import CONF_DIR
from launch.config import load_cluster
from launch.slurm_script import check_shape, executor_of, script_text
from tests.launch.test_slurm import write_script


def write_cluster(folder: Path, *lines: str) -> Path:
    (folder / "cluster").mkdir()
    (folder / "cluster" / "ours.yaml").write_text("\n".join(("kind: slurm", *lines)) + "\n")
    return folder


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("4:00:00", 240),
        ("04:00:00", 240),
        ("0:30:01", 31),  # SLURM rounds up to a minute, too
        ("100:00:00", 6000),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("2-00:00:00", 2880),
    ],
)
def test_a_time_limit_is_read_as_slurm_reads_it(tmp_path, text, minutes):
    assert load_cluster("slurm", {"time": text}).limit_minutes == minutes
    assert load_cluster("ours", {}, write_cluster(tmp_path, f"time: {text}")).limit_minutes == minutes


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("time", "4:00", "cluster.time is 4:00, which is ambiguous; write 4:00:00 for .* or 0:04:00 for"),
        ("time", "240", "cluster.time is 240; .* whole minutes are cluster.timeout_min=240"),
        ("time", "4:75:00", "cluster.time is 4:75:00; it must be in one of SLURM's formats"),
        ("time", "1-24", "cluster.time is 1-24; it must be"),
        ("time", "0:00:00", "cluster.time is 0:00:00; .* at least a minute"),
        ("time", "4h", "cluster.time is 4h; it must be"),
        ("timeout_min", "4:00:00", "cluster.timeout_min is 4:00:00; it must be whole minutes; .* cluster.time=4:00:00"),
        ("timeout_min", "1-12", "cluster.timeout_min is 1-12; .* cluster.time=1-12"),
    ],
)
def test_a_time_limit_that_could_mean_something_else_is_refused(tmp_path, key, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_cluster("slurm", {key: text})
    with pytest.raises(ConfigError, match=sentence):
        load_cluster("ours", {}, write_cluster(tmp_path, f"{key}: {text}"))


def test_the_calls_time_limit_replaces_the_files(tmp_path):
    conf = write_cluster(tmp_path, "time: 1-00:00:00")
    assert load_cluster("ours", {"timeout_min": "30"}, conf).limit_minutes == 30
    assert load_cluster("slurm", {"time": "0:30:00"}).limit_minutes == 30
    with pytest.raises(
        ConfigError, match=r"cluster.time is 1:00:00 and cluster.timeout_min is 30; give one of the two"
    ):
        load_cluster("slurm", {"time": "1:00:00", "timeout_min": "30"})
    with pytest.raises(ConfigError, match="cluster.signal_delay_s is 120; .* the seconds of cluster.time=0:02:00"):
        load_cluster("slurm", {"time": "0:02:00"})


def test_a_time_limit_may_depend_on_the_number_of_ranks(tmp_path):
    conf = write_cluster(tmp_path, "time: {1: 8:00:00, 4: 0:30:00}")
    cluster = load_cluster("ours", {"time.4": "1-00"}, conf)
    assert [cluster.minutes_for(1), cluster.minutes_for(4)] == [480, 1440]
    assert load_cluster("ours", {"timeout_min": "30"}, conf).minutes_for(2) == 30
    assert load_cluster("slurm", {"time.1": "1:00:00"}).minutes_for(1) == 60
    assert load_cluster("slurm", {"time": "1:00:00"}).minutes_for(3) == 60
    chain = compose(["schedule=adabatch", "schedule.batch_size=128", "schedule.every_epochs=1", "num_epochs=2",
                     "hardware.num_devices=2", "hardware.devices={128: 1, 256: 2}"])  # fmt: skip
    with pytest.raises(ConfigError, match="has limits for 1, 4 ranks; it must have one for each .*, and a job has 2"):
        check_shape(cluster, chain)


@pytest.mark.parametrize(
    ("cluster", "words", "sentence"),
    [
        ("slurm", {"time": "{}"}, r"cluster.time is {}; .* one by number of ranks such as {1: 8:00:00, 4: 2:00:00}"),
        ("slurm", {"time": "[1]"}, r"cluster.time is \['?1'?\]; it must be null, a time limit such as"),
        ("slurm", {"time": "{one: 1:00:00}"}, "a key of cluster.time is one; it must be a number of ranks, at least 1"),
        ("slurm", {"time.0": "1:00:00"}, "a key of cluster.time is 0; it must be a number of ranks"),
        ("slurm", {"time": "{1: 8:00}"}, "cluster.time.1 is 8:00, which is ambiguous; write 8:00:00"),
        ("slurm", {"time": "{1: 240}"}, "cluster.time.1 is 240; it must be in one of SLURM's formats .*HH:MM:SS\\.$"),
        ("slurm", {"time": "{1: null}"}, "cluster.time.1 is null; it must be in one of SLURM's formats"),
        ("slurm", {"time": "{1: 8:00:00, 4: 0:01:00}"}, "signal_delay_s is 120; .* less than 60, the seconds of"),
        ("slurm", {"time": "1:00:00", "time.4": "2:00:00"}, "cluster.time is 1:00:00; it must be a mapping"),
        ("local", {"time": "{1: 8:00:00}"}, "cluster.time is {.*}; it must be one time limit where cluster.kind is lo"),
    ],
)
def test_time_limits_by_ranks_that_cannot_be_meant_cost_a_sentence(cluster, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_cluster(cluster, words)


def test_options_of_sbatch_are_given_by_file_and_call(tmp_path):
    conf = write_cluster(tmp_path, "timeout_min: 30", "sbatch: {mem_per_cpu: 4G, mail_type: [END, FAIL], hold: true}")
    cluster = load_cluster("ours", {"sbatch.exclude": "n3", "sbatch.hold": "false"}, conf)
    assert cluster.sbatch_options == {"mem-per-cpu": "4G", "mail-type": "END,FAIL", "exclude": "n3"}
    assert load_cluster("ours", {"sbatch.nice": "100"}, conf).sbatch_options["hold"] is True


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"sbatch.time": "1:00:00"}, r"cluster.sbatch.time cannot be passed on, .* use cluster.time\."),
        ({"sbatch.job_name": "x"}, "cluster.sbatch.job_name cannot be passed on, .* find its jobs"),
        ({"sbatch.ntasks-per-node": "2"}, "use hardware.num_devices"),
        ({"sbatch.p": "gpu"}, "cluster.sbatch.p is gpu; it must be a long option of sbatch"),
        ({"sbatch.comment": '"a\\nb"'}, "cluster.sbatch.comment is .* in one line"),
        ({"sbatch": "{mem_per_cpu: 1G, mem-per-cpu: 2G}"}, "cluster.sbatch.mem-per-cpu is 2G; it must be given once"),
        (
            {"sbatch.mem_per_cpu": "1G", "memory_gb": "4"},
            "mem-per-cpu and cluster.memory_gb is given; give one of the two",
        ),
        ({"sbatch.gres": "gpu:a100:2", "gpus_per_node": "2"}, "asks for GPUs and cluster.gpus_per_node is given"),
        ({"srun": "[--ntasks=3]"}, "cluster.srun's --ntasks=3 cannot be passed on, .* use hardware.num_devices"),
        ({"srun": "[-n3]"}, "cluster.srun's -n3 cannot be passed on"),
        ({"srun": "[--output=x]"}, "cluster.srun's --output=x cannot be passed on, .* logs"),
        ({"srun": "[image]"}, r"cluster.srun is .*image.*; it must be a list of options"),
        ({"gpus_per_node": "a100"}, "cluster.gpus_per_node is a100; it must be null, a number, or TYPE:NUMBER"),
        ({"block": "arm"}, "cluster.block is arm; it must be null or seed"),
        ({"block": "seed", "runs_per_job": "2"}, "cluster.runs_per_job is 2; it must be 1 where cluster.block is seed"),
        ({"retry.memory": "2x"}, "cluster.memory_gb is null; it must be set where cluster.retry.memory is given"),
        ({"retry.time": "half"}, "cluster.retry.time is half; it must be a factor such as 2x"),
        ({"retry.tiem": "2x"}, "cluster.retry.tiem is unknown; known are memory, time. Did you mean time"),
        ({"max_array_size": "0"}, "cluster.max_array_size is 0"),
    ],
)
def test_options_that_clash_cost_a_sentence(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_cluster("slurm", words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"gpus_per_node": "a100:1"}, "cluster.gpus_per_node is a100:1; it must be at least hardware.num_devices=2"),
        ({"sbatch.gres": "gpu:a100:1"}, "cluster.sbatch.gres is gpu:a100:1; it must be at least hardware.num_dev"),
        ({"sbatch.gres": "tmp:20G,gpu"}, "cluster.sbatch.gres is tmp:20G,gpu; it must be at least"),
    ],
)
def test_too_few_gpus_for_the_ranks_of_a_node_cost_a_sentence(words, sentence):
    config = compose(["hardware=gpu", "hardware.num_devices=2"])
    with pytest.raises(ConfigError, match=sentence):
        check_shape(load_cluster("slurm", words), config)
    for enough in ({"sbatch.gres": "gpu:a100:2"}, {"sbatch.gres": "gpu:a100:1,gpu:1"}, {"sbatch.gpus-per-task": "1"}):
        check_shape(load_cluster("slurm", enough), config)


def test_options_of_slurm_are_refused_on_this_machine():
    with pytest.raises(ConfigError, match="cluster.sbatch is .*; it must be left out where cluster.kind is local"):
        load_cluster("local", {"sbatch.nice": "1"})


def test_gpus_may_have_a_type():
    assert load_cluster("slurm", {"gpus_per_node": "a100:2"}).num_gpus == 2
    assert load_cluster("slurm", {"gpus_per_node": "4"}).num_gpus == 4


@pytest.mark.parametrize("name", [path.stem for path in (CONF_DIR / "cluster").glob("*.yaml")])
def test_every_cluster_file_loads(name):
    assert load_cluster(name, {}).kind in ("local", "slurm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("slurm_apptainer", ["apptainer", "exec", "--nv", "--bind"]),
        ("slurm_pyxis", ["python3"]),
    ],
)
def test_a_container_is_started_by_the_batch_script(tmp_path, name, start):
    """A stand-in takes the place of srun; neither pyxis nor apptainer is needed, or tried."""
    words, script = tmp_path / "words", tmp_path / "job.sh"
    write_script(tmp_path / "bin" / "srun", f"printf '%s\\n' \"$@\" > {words}")
    executor = executor_of(load_cluster(name, {}), compose(["network=tiny_cnn", "dataset=digits"]), tmp_path, "job")
    script.write_text(script_text(executor, 1))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    subprocess.run(["bash", str(script)], env={**os.environ, "PATH": path}, check=True)
    given = words.read_text().splitlines()
    first = given.index(start[0])
    assert given[first : first + len(start)] == start
    assert given[given.index("-m") : given.index("-m") + 2] == ["-m", "submitit.core._submit"]
    options = [word for word in given[:first] if word.startswith("--container")]
    assert len(options) == (2 if name == "slurm_pyxis" else 0)
    if name == "slurm_apptainer":
        image = given.index("/shared/images/adabatch.sif")
        assert first < image < given.index("python3") < given.index("-m")
