"""A schedule of batch size and learning rate for any training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adabatch.config.compose import compose_schedule
from adabatch.errors import ConfigError
from adabatch.fields import POSITIVE, Range, at_least, require
from adabatch.schedules import Decision, PlannedUpdate, ScheduleConfig, plan_updates
from adabatch.schedules.progress import Progress

if TYPE_CHECKING:
    from torch.optim import Optimizer

#: The key of an optimizer's parameter group that holds its own base rate; torch's schedulers use the same one.
_BASE_RATE = "initial_lr"
_TOLERANCE = 1e-9
_COUNT = at_least(1)


class BatchSchedule:
    """Batch size and learning rate over a training, by the same formula as in adabatch's own runs.

    It knows a position, the samples seen so far, which `advance` or a `GrowingBatchSampler` moves. It imports no torch.

    Args:
        name: an option of ``conf/schedule`` (``adabatch``, ``fixed``, ``milestones``, ``stages``, ``cosine_ramp``,
            ...), or a kind of schedule (``stepwise``, ``ramp``).
        num_train_samples: size of the training set; no batch is larger.
        num_epochs: length of the training.
        learning_rate: for a batch of the first size; what ``optimizer.learning_rate`` is in a config.
        arguments: keys of the schedule without their ``schedule.``, such as ``batch_size=64, every_epochs=10``.

    Attributes:
        is_applied: whether an optimizer follows the schedule, which then must be moved.

    Raises:
        ConfigError: for an unknown name or key, or a value out of range.

    Example:
        >>> schedule = BatchSchedule(
        ...     "adabatch", num_train_samples=50_000, num_epochs=100, learning_rate=0.1, batch_size=64, every_epochs=20
        ... )
        >>> schedule.at(20 * 50_000)  # doubled after 20 epochs
        Decision(batch_size=128, learning_rate=0.075...)
    """

    def __init__(
        self, name: str, *, num_train_samples: int, num_epochs: int, learning_rate: float, **arguments: Any
    ) -> None:
        self._set_up(compose_schedule(name, arguments), num_train_samples, num_epochs, learning_rate)

    def _set_up(self, config: ScheduleConfig, num_train_samples: int, num_epochs: int, learning_rate: float) -> None:
        _require_number("num_train_samples", num_train_samples, _COUNT, int)
        _require_number("num_epochs", num_epochs, _COUNT, int)
        _require_number("learning_rate", learning_rate, POSITIVE, int, float)
        self._config = config
        self._num_train_samples = num_train_samples
        self._num_epochs = num_epochs
        self._learning_rate = float(learning_rate)
        self._schedule = config.build(self._learning_rate, num_train_samples, num_epochs)
        self._progress = Progress()
        self.is_applied = False

    @classmethod
    def from_config(
        cls, config: ScheduleConfig, *, num_train_samples: int, num_epochs: int, learning_rate: float
    ) -> BatchSchedule:
        """Return the schedule of a config, such as that of a run: ``compose([...]).schedule``."""
        schedule = cls.__new__(cls)
        schedule._set_up(config, num_train_samples, num_epochs, learning_rate)
        return schedule

    @classmethod
    def from_stages(
        cls,
        stages: Mapping[int, int],
        *,
        num_train_samples: int,
        num_epochs: int,
        learning_rate: float,
        **arguments: Any,
    ) -> BatchSchedule:
        """Return a schedule of explicit stages.

        Args:
            stages: batch size by the number of epochs after which it begins; the first stage begins after 0.
            arguments: further keys of ``schedule=stages``. As there, the learning rate stays as it is at every
                boundary, while the batch changes, unless ``learning_rate_decay`` or ``learning_rate_decays`` is given.

        Example:
            >>> BatchSchedule.from_stages({0: 64, 10: 256}, num_train_samples=1000, num_epochs=20, learning_rate=0.1)
        """
        allowed = f"a mapping from epochs below num_epochs={num_epochs} to batch sizes, with one for 0, the start"
        is_mapping = isinstance(stages, Mapping) and all(isinstance(epoch, int) for epoch in stages)
        require(is_mapping and 0 in stages and max(stages) < num_epochs, "stages", stages, allowed)
        epochs = sorted(stages)
        given = {"batch_sizes": [stages[epoch] for epoch in epochs], "milestones": epochs[1:]}
        return cls(
            "stages",
            num_train_samples=num_train_samples,
            num_epochs=num_epochs,
            learning_rate=learning_rate,
            **{**given, **arguments},
        )

    @property
    def config(self) -> ScheduleConfig:
        """The schedule's keys; see `ScheduleConfig` and its subclasses."""
        return self._config

    @property
    def num_train_samples(self) -> int:
        """The size of the training set."""
        return self._num_train_samples

    @property
    def num_epochs(self) -> int:
        """The length of the training."""
        return self._num_epochs

    @property
    def learning_rate(self) -> float:
        """The base learning rate: for a batch of the first size, before decay and warm-up."""
        return self._learning_rate

    @property
    def progress(self) -> Progress:
        """The position: epoch (from 1), samples seen in it, samples and updates since the start."""
        return self._progress

    def at(self, samples: int) -> Decision:
        """Return batch size and learning rate of the update that follows ``samples`` seen samples.

        An epoch counts as ``num_train_samples``, also where a partial batch is dropped.
        """
        _require_number("samples", samples, at_least(0), int)
        epochs, in_epoch = divmod(samples, self._num_train_samples)
        return self.decide(Progress(epochs + 1, in_epoch, samples))

    def decide(self, progress: Progress) -> Decision:
        """Return batch size and learning rate of the update that follows a position."""
        return self._schedule.decide(progress)

    def plan_updates(self, progress: Progress, partial_batch: str) -> Iterator[PlannedUpdate]:
        """Yield the updates from a position to the end of its epoch; see `adabatch.schedules.plan_updates`."""
        return plan_updates(self._schedule, progress, self._num_train_samples, partial_batch)

    def apply(self, optimizer: Optimizer) -> Decision:
        """Set the learning rate of all parameter groups for the coming update, and return the decision.

        Groups keep the ratio of the rates that they were made with. One of these must be the schedule's own base rate,
        so that a rate given twice is given right.

        Raises:
            ConfigError: if no group was made with the schedule's learning rate.
        """
        decision = self.decide(self._progress)
        self.is_applied = True
        groups = getattr(optimizer, "param_groups", None)
        if groups is None:
            raise ConfigError(f"apply was given a {type(optimizer).__name__}; it must be an optimizer of torch.")
        bases = [float(group.setdefault(_BASE_RATE, float(group["lr"]))) for group in groups]
        own = self._learning_rate
        if not any(abs(base - own) <= _TOLERANCE * own for base in bases):
            rates = ", ".join(f"{base:g}" for base in dict.fromkeys(bases))
            raise ConfigError(
                f"learning_rate is {own:g}; it must be the rate that one of the optimizer's groups was made with: "
                f"{rates}."
            )
        for group, base in zip(groups, bases, strict=True):
            is_own = abs(base - own) <= _TOLERANCE * own
            _set_rate(group, decision.learning_rate if is_own else decision.learning_rate * (base / own))
        return decision

    def advance(self, num_samples: int) -> None:
        """Move on by one update of ``num_samples``; for loops without a `GrowingBatchSampler`, which does it itself.

        An update that reaches the end of the epoch starts the next one; samples beyond it count there.
        """
        _require_number("num_samples", num_samples, _COUNT, int)
        after = self._progress.after_update(num_samples)
        epochs, in_epoch = divmod(after.samples_in_epoch, self._num_train_samples)
        self._progress = dataclasses.replace(after, epoch=after.epoch + epochs, samples_in_epoch=in_epoch)

    def move_to(self, progress: Progress) -> None:
        """Set the position; a `GrowingBatchSampler` calls it."""
        self._progress = progress

    def twin(self) -> BatchSchedule:
        """Return the fixed-batch twin at its start: the first batch size, and the same learning rate per sample."""
        return self.from_config(
            self._config.twin(),
            num_train_samples=self._num_train_samples,
            num_epochs=self._num_epochs,
            learning_rate=self._learning_rate,
        )

    def facts(self) -> dict[str, Any]:
        """Return what determines the schedule, as plain values."""
        return {
            "schedule": dataclasses.asdict(self._config),
            "num_train_samples": self._num_train_samples,
            "num_epochs": self._num_epochs,
            "learning_rate": self._learning_rate,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return facts and position as plain values, for a checkpoint."""
        return {**self.facts(), "progress": dataclasses.asdict(self._progress)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the position of a saved state.

        Raises:
            ConfigError: if the state is that of another schedule; the sentence names what differs.
        """
        check_same(self.facts(), state)
        self._progress = Progress(**state["progress"])

    def __repr__(self) -> str:
        keys = ", ".join(f"{name}={value!r}" for name, value in self.facts().items() if name != "schedule")
        return f"BatchSchedule({self._config.label(dataclasses.asdict(self._config))}, {keys})"


def check_same(own: Mapping[str, Any], saved: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ConfigError where a saved state has other values than what it is loaded into."""
    for name, value in own.items():
        other = saved.get(name)
        if isinstance(value, Mapping):
            check_same(value, other if isinstance(other, Mapping) else {}, f"{prefix}{name}.")
        elif value != other:
            raise ConfigError(f"{prefix}{name} is {value}; it must be {other}, as in the saved state.")


def _require_number(name: str, value: object, allowed: Range, *kinds: type) -> None:
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    text = f"a whole number of {allowed.text}" if kinds == (int,) else allowed.text
    require(is_number and allowed.allows(value), name, value, text)


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if hasattr(group["lr"], "fill_"):  # a tensor, as optimizers that are captured in CUDA graphs have it
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
