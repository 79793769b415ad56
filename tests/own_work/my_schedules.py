"""A schedule outside of adabatch."""

from adabatch import Decision, Progress, Schedule, Signals


class Doubling(Schedule):
    """Doubles the batch size every few epochs, where a fixed batch would halve the learning rate."""

    def __init__(self, batch_size: int, learning_rate: float, every: int = 2) -> None:
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._every = every

    @property
    def constant_within_epoch(self) -> bool:
        return True

    def decide(self, progress: Progress, signals: Signals | None = None) -> Decision:
        factor = 2 ** ((progress.epoch - 1) // self._every)
        return Decision(self._batch_size * factor, self._learning_rate)
