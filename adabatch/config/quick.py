"""A quick look: a run cut down until it ends within a minute; it shows that everything works, and proves nothing."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

_NUM_EPOCHS = 5
_TRAIN_SAMPLES, _TEST_SAMPLES = 256, 128
#: Keys of schedules that count epochs, besides ``milestones``.
_EPOCH_KEYS = ("every_epochs", "ramp_epochs", "warmup_epochs")
_SUFFIX = "-quick"


def cut_down(composed: DictConfig) -> None:
    """Cut down a composed config whose ``quick`` is true; the sizes of its data set are those of the whole set.

    At most 5 epochs, 256 training, 128 validation and 128 test samples are left. Boundaries and warm-up of the schedule
    move in proportion to the number of epochs. The run goes into a folder of its own.
    """
    before = composed.num_epochs
    composed.num_epochs = min(before, _NUM_EPOCHS)
    if before > composed.num_epochs:
        _move_boundaries(composed.schedule, composed.num_epochs / before)
    data = composed.dataset
    data.limit = min(_TRAIN_SAMPLES, data.limit or _TRAIN_SAMPLES)
    data.test_limit = min(_TEST_SAMPLES, data.test_limit or _TEST_SAMPLES)
    if data.validation and not OmegaConf.is_missing(data, "num_train_samples"):
        data.validation = min(data.validation, _TEST_SAMPLES / data.num_train_samples)
    if composed.run_dir is not None:
        composed.run_dir = quick_name(composed.run_dir)


def quick_name(name: str) -> str:
    """Return the name of a folder for quick looks."""
    return name if name.endswith(_SUFFIX) else name + _SUFFIX


def _move_boundaries(schedule: DictConfig, factor: float) -> None:
    for key in _EPOCH_KEYS:
        if schedule.get(key):
            schedule[key] = max(1, round(schedule[key] * factor))
    if schedule.get("milestones"):
        schedule.milestones = sorted({max(1, round(epoch * factor)) for epoch in schedule.milestones})
