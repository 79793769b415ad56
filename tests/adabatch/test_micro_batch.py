"""``max_micro_batch_size=auto``: measured once, then a number in the config."""

import json

import pytest
import torch

from adabatch import micro_batch
from adabatch.compose import compose
from adabatch.config import load_config, save_config
from adabatch.errors import OutOfMemory
from adabatch.micro_batch import largest_rank_share, main, measure_max_micro_batch_size
from tests.adabatch.support import TINY, read_rows


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_number_is_written_into_the_config_and_the_same_command_agrees(train, capsys):
    run_dir = train("max_micro_batch_size=auto")
    chosen = load_config(run_dir.config).max_micro_batch_size
    # batches 8, 16, 32 at most
    assert chosen in (8, 16, 32)
    assert max(int(row["micro_batch_size"]) for row in read_rows(run_dir)) <= chosen
    assert json.loads(run_dir.meta.read_text())["micro_batch_measurement"]["max_micro_batch_size"] == chosen
    train("max_micro_batch_size=auto")
    assert "is finished already" in capsys.readouterr().out


def test_the_largest_share_of_a_rank_is_the_largest_batch_over_the_ranks():
    assert largest_rank_share(compose([*TINY, "hardware.num_devices=3"])) == 11  # 32 over 3


def test_a_measurement_has_a_row_per_size_and_is_remembered(tmp_path):
    config = compose(TINY)
    measured = measure_max_micro_batch_size(config, torch.device("cpu"))
    assert [row["micro_batch_size"] for row in measured.rows] == [8, 16, 32][: len(measured.rows)]
    for row in measured.rows:
        assert row["samples_per_second"] == pytest.approx(row["micro_batch_size"] / row["seconds"])
    best = max(row["samples_per_second"] for row in measured.rows)
    chosen = next(row for row in measured.rows if row["micro_batch_size"] == measured.max_micro_batch_size)
    assert chosen["samples_per_second"] >= 0.95 * best
    assert measure_max_micro_batch_size(config, torch.device("cpu")) == measured


def test_memory_that_does_not_suffice_ends_the_search(monkeypatch):
    original = micro_batch._seconds_of_one

    def only_small(learner, config, size):
        if size > 8:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(learner, config, size)

    monkeypatch.setattr(micro_batch, "_seconds_of_one", only_small)
    measured = measure_max_micro_batch_size(compose(TINY), torch.device("cpu"))
    assert (measured.max_micro_batch_size, measured.out_of_memory_at) == (8, 16)


def test_a_network_that_never_fits_is_a_failure(monkeypatch):
    def never(learner, config, size):
        raise MemoryError("no")

    monkeypatch.setattr(micro_batch, "_seconds_of_one", never)
    with pytest.raises(OutOfMemory, match="not even a micro-batch of 8"):
        measure_max_micro_batch_size(compose(TINY), torch.device("cpu"))


def test_the_command_writes_json(tmp_path):
    save_config(compose(TINY), tmp_path / "config.yaml")
    assert main([str(tmp_path / "config.yaml"), str(tmp_path / "measured.json")]) == 0
    assert json.loads((tmp_path / "measured.json").read_text())["max_micro_batch_size"] in (8, 16, 32)
    assert main([str(tmp_path / "nowhere.yaml")]) == 2
