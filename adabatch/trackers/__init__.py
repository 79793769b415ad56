"""Trackers mirror a run's numbers elsewhere. The run directory stays authoritative; a tracker never fails a run."""

from adabatch.trackers.base import Tracker

__all__ = ["Tracker"]
