"""``max_micro_batch_size=auto``: measured once, then a number in the config."""

import json

import pytest
import torch

from adabatch.config import load_config, save_config
from adabatch.config.compose import compose
from adabatch.errors import OutOfMemory
from adabatch.measure.__main__ import main
from adabatch.measure.micro_batch import choose_micro_batch, explore_micro_batch, largest_rank_share
from adabatch.measure.probe import Probe
from adabatch.measure.times import Measurement
from tests.adabatch.support import TINY, assert_equal_bits, line, read_rows

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def started():
    """A process's first update may take more than the second that the tests leave for exploring."""
    Probe(compose(TINY), CPU).measure([8])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("adabatch.measure.probe._EXPLORING_SECONDS", 1.0)
    monkeypatch.setattr("adabatch.measure.probe._SECONDS_PER_SIZE", 0.1)


def test_the_number_is_written_into_the_config_and_the_same_command_agrees(train, capsys):
    run_dir = train("max_micro_batch_size=auto")
    chosen = load_config(run_dir.config).max_micro_batch_size
    # batches 8, 16, 32 at most
    assert chosen in (8, 16, 32)
    assert max(int(row["micro_batch_size"]) for row in read_rows(run_dir)) <= chosen
    assert json.loads(run_dir.meta.read_text())["measured"]["max_micro_batch_size"]["max_micro_batch_size"] == chosen
    train("max_micro_batch_size=auto")
    assert "is already finished" in capsys.readouterr().out


def test_the_largest_share_of_a_rank_is_the_largest_batch_over_the_ranks():
    small, large = (compose([*TINY, f"schedule.batch_size={size}", "hardware.num_devices=3"]) for size in (2, 8))
    assert largest_rank_share([small, large]) == 11  # 32 over 3


def test_the_largest_size_that_is_nearly_the_best_is_chosen():
    # 10 ms + 1 ms a sample: 500, 667, 800, 889, 941, 970 samples/s; the last but one is within 5 % of the last
    choice = choose_micro_batch(line([10, 20, 40, 80, 160, 320], fixed=0.010, per_sample=0.001), 320)
    assert choice.max_micro_batch_size == 320
    assert choice.reason == "970 samples/s; the best of sizes 10..320 is 970"
    # beyond the caches 2 ms a sample
    rows = line([10, 20, 40], fixed=0.010, per_sample=0.001).rows + line([80], fixed=0.0, per_sample=0.002).rows
    choice = choose_micro_batch(Measurement(rows, 0.0, None, "a device", "now"), 500)
    assert choice.max_micro_batch_size == 40
    assert choice.reason.endswith("of sizes 10..80 is 800; sizes up to 500 would have taken too long to measure")
    choice = choose_micro_batch(Measurement(rows, 0.0, 160, "a device", "now"), 500)
    assert choice.reason.endswith("of sizes 10..80 is 800; 160 would fill the memory")


def test_a_measurement_has_a_row_per_size_and_is_remembered():
    config = compose(TINY)
    choice = explore_micro_batch([config], CPU)
    rows = choice.measurement.rows
    assert [row.micro_batch_size for row in rows] == [8, 16, 32]
    for row in rows:
        assert row.fastest_seconds > 0
        assert min(row.data_seconds, row.forward_seconds, row.backward_seconds, row.update_seconds) > 0
    assert choice.measurement.test_seconds_per_sample > 0
    assert explore_micro_batch([config], CPU) == choice
    assert explore_micro_batch([config], CPU, again=True).measurement != choice.measurement


def test_what_another_version_kept_is_measured_anew(tmp_path):
    config = compose(TINY)
    explore_micro_batch([config], CPU)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    values = json.loads(kept.read_text())
    for content in ("{}", "[]", "no JSON", json.dumps({**values, "values": {**values["values"], "another_key": 1}})):
        kept.write_text(content)
        explore_micro_batch([config], CPU)
        assert json.loads(kept.read_text()).keys() == values.keys()


def test_measuring_leaves_no_trace_in_the_weights_of_a_run(train):
    measured = train("max_micro_batch_size=auto", name="measured")
    cap = load_config(measured.config).max_micro_batch_size
    assert_equal_bits(train(f"max_micro_batch_size={cap}", name="given"), measured)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory."), MemoryError("no")])
def test_memory_that_does_not_suffice_ends_the_search(monkeypatch, error):
    original = Probe._train

    def only_small(probe, size, num_updates):
        if size > 8:
            raise error
        return original(probe, size, num_updates)

    monkeypatch.setattr(Probe, "_train", only_small)
    choice = explore_micro_batch([compose(TINY)], CPU)
    assert (choice.max_micro_batch_size, choice.measurement.out_of_memory_at) == (8, 16)


def test_a_size_that_nearly_fills_the_memory_is_not_chosen(monkeypatch):
    monkeypatch.setattr(Probe, "_memory_is_nearly_full", lambda probe: max(probe._seconds) > 8)
    choice = explore_micro_batch([compose(TINY)], CPU)
    assert (choice.max_micro_batch_size, choice.measurement.out_of_memory_at) == (8, 16)
    assert choice.reason.endswith("16 would fill the memory")


def test_a_network_that_never_fits_is_a_failure(monkeypatch):
    def never(probe, size, num_updates):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(Probe, "_train", never)
    with pytest.raises(OutOfMemory, match="not even a micro-batch of 8"):
        explore_micro_batch([compose(TINY)], CPU)


def test_another_error_is_not_taken_for_want_of_memory(monkeypatch):
    def broken(probe, size, num_updates):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Probe, "_train", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        explore_micro_batch([compose(TINY)], CPU)


def test_the_command_writes_json(tmp_path, capsys):
    save_config(compose([*TINY, "max_micro_batch_size=auto"]), tmp_path / "config.yaml")
    save_config(
        compose([*TINY, "max_micro_batch_size=auto", "schedule=fixed", "schedule.batch_size=4"]), tmp_path / "b.yaml"
    )
    answer = tmp_path / "measured.json"
    assert main([str(tmp_path / "config.yaml"), str(tmp_path / "b.yaml"), "-o", str(answer), "--times"]) == 0
    values = json.loads(answer.read_text())
    cap = values["max_micro_batch_size"]
    assert cap in (8, 16, 32)
    # 4 of the fixed arm; 8, 16 and 32 of the growing one, in pieces of at most the cap
    expected = {8: {4, 8}, 16: {4, 8, 16}, 32: {4, 8, 16, 32}}[cap]
    measured = {row["micro_batch_size"] for row in values["measurement"]["rows"]}
    assert expected <= measured | {28}
    assert main([str(tmp_path / "nowhere.yaml")]) == 2
    assert "does not exist" in capsys.readouterr().err
