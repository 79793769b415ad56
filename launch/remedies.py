"""What lint advises about schedules, in keys that the kind of schedule at hand has."""

from __future__ import annotations

from adabatch.schedules.base import ScheduleConfig
from adabatch.schedules.custom import CustomScheduleConfig
from adabatch.schedules.ramp import RampScheduleConfig
from adabatch.schedules.stepwise import StepwiseScheduleConfig
from adabatch.schedules.trajectory import WARMUP_KEY

_DECAY, _DECAYS = "schedule.learning_rate_decay", "schedule.learning_rate_decays"


def match_rates(own: ScheduleConfig, base: ScheduleConfig) -> str:
    """Return how to give an arm the baseline's learning rate per sample."""
    if isinstance(own, CustomScheduleConfig):
        return f"{_change(own)}, or give the baseline its learning rates: your own schedule has no twin."
    twin = "Compare with the arm's twin, twin(ARM), or"
    if isinstance(base, CustomScheduleConfig):
        return f"{twin} {_change(base, 'change')}."
    where = ""
    if isinstance(own, RampScheduleConfig):
        where = " over the whole ramp"
    elif _decay_key(own) == _DECAYS:
        where = " at each milestone"
    return f"{twin} set {_decay_key(own)} = decay x growth**exponent{where}."


def match_boundaries(own: ScheduleConfig, base: ScheduleConfig) -> str:
    """Return how to let the learning rate per sample of two arms change after the same epochs."""
    custom = next((one for one in (own, base) if isinstance(one, CustomScheduleConfig)), None)
    if custom is not None:
        return f"{_change(custom)}, or give the other arm its boundaries with schedule.milestones."
    if isinstance(own, RampScheduleConfig) or isinstance(base, RampScheduleConfig):
        return "Compare with the arm's twin, twin(ARM): a ramp changes with the samples seen, not at boundaries."
    return "Give both the same schedule.every_epochs or schedule.milestones."


def match_warmups(own: ScheduleConfig, base: ScheduleConfig) -> str:
    """Return how to let the warm-ups of two arms end together."""
    if isinstance(own, CustomScheduleConfig) or isinstance(base, CustomScheduleConfig):
        return f"Set {WARMUP_KEY}=0 for the other arm: a warm-up is not known of your own schedule."
    return f"Set {WARMUP_KEY} for all arms."


def scale_start(own: ScheduleConfig) -> str:
    """Return what to do about a learning rate per sample that is smaller by a constant factor."""
    warmup = "" if isinstance(own, CustomScheduleConfig) else ", or use a warm-up"
    return f"Expected with an unscaled learning rate; otherwise scale optimizer.learning_rate{warmup}."


def keep_rates_from_rising(own: ScheduleConfig) -> str:
    """Return how to keep the learning rate from rising after the warm-up."""
    return f"{_change(own)}." if isinstance(own, CustomScheduleConfig) else f"Set {_decay_key(own)} to at most 1."


def keep_rates_from_vanishing(own: ScheduleConfig) -> str:
    """Return where to look if the learning rate per sample falls to nothing."""
    if isinstance(own, CustomScheduleConfig):
        return f"{_change(own)}: look for a typo in a factor."
    return f"Look for a typo in {_decay_key(own)}, such as 0.0375 for 0.375."


def move_boundaries(own: StepwiseScheduleConfig) -> str:
    """Return how to get a boundary into the training."""
    key = "schedule.every_epochs" if own.milestones is None else "schedule.milestones"
    return f"Lower {key}, or train for longer."


def reduce_shapes(own: ScheduleConfig) -> str:
    """Return how to get fewer sizes of micro-batches."""
    cap = "cap the micro-batch with max_micro_batch_size"
    if isinstance(own, RampScheduleConfig):
        return f"Set schedule.batch_size_multiple, such as to 64, or {cap}."
    return f"{_change(own)}, or {cap}." if isinstance(own, CustomScheduleConfig) else f"{cap[0].upper()}{cap[1:]}."


def _decay_key(own: ScheduleConfig) -> str:
    """Return the key that says how the learning rate falls."""
    has_list = isinstance(own, StepwiseScheduleConfig) and own.learning_rate_decays is not None
    return _DECAYS if has_list else _DECAY


def _change(own: CustomScheduleConfig, verb: str = "Change") -> str:
    return f"{verb} what {own.path} decides"
