"""What TensorBoard shows of a run, read back by TensorBoard's own reader."""

from __future__ import annotations

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import resume_run
from adabatch.rundir.files import RunDir
from adabatch.training.reporting import MainReporter
from tests.adabatch.support import read_rows


def scalars(run_dir: RunDir, folder: str) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every scalar by its name."""
    events = EventAccumulator(str(run_dir.path / "tensorboard" / folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_resumed_run_has_every_scalar_once(train, monkeypatch):
    on_update = MainReporter.on_update

    def fail_at_the_last(self, progress, *arguments):
        on_update(self, progress, *arguments)
        if progress.updates == 15:
            raise RuntimeError("something else")

    monkeypatch.setattr(MainReporter, "on_update", fail_at_the_last)
    run_dir = train("tracker=tensorboard", "num_epochs=4", "checkpoint.every_epochs=2", status=1)
    # 8, 4 and 2 updates; then the batch is the data set's 60 samples
    assert [step for step, _ in scalars(run_dir, "by_epoch")["samples"]] == [1, 2, 3]
    assert [step for step, _ in scalars(run_dir, "by_update")["batch_size"]] == [0, 8, 12, 14]

    monkeypatch.setattr(MainReporter, "on_update", on_update)
    assert resume_run(run_dir.path) == 0  # from the checkpoint after 12 updates
    by_epoch, by_update = scalars(run_dir, "by_epoch"), scalars(run_dir, "by_update")
    assert by_epoch["updates"] == [(1, 8), (2, 12), (3, 14), (4, 15)]
    assert by_epoch["batch_size"] == [(1, 8), (2, 16), (3, 32), (4, 60)]
    assert [value for _, value in by_epoch["train_loss"]] == pytest.approx(
        [float(row["train_loss"]) for row in read_rows(run_dir)]
    )
    filled = {name for name, text in read_rows(run_dir)[0].items() if text}
    assert set(by_epoch) == filled - {"epoch"}
    assert by_update["batch_size"] == [(0, 8), (8, 16), (12, 32), (14, 60)]
    rates = [0.01, 0.01 * 0.75, 0.01 * 0.75**2, 0.01 * 0.375**3 * 60 / 8]
    assert by_update["learning_rate"] == [
        (step, pytest.approx(rate)) for step, rate in zip((0, 8, 12, 14), rates, strict=True)
    ]


def test_a_missing_package_costs_a_sentence_before_anything_is_written(train, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r"the package tensorboard is not installed; install it by pip install"):
        train("tracker=tensorboard")
    assert not (tmp_path / "run").exists()
    assert compose(["tracker=tensorboard"]).tracker.kind == "tensorboard"  # reading runs needs no package
