"""Every instant belongs to one span."""

import time

from adabatch.rundir.columns import train_seconds
from adabatch.training.stopwatch import SPANS, Stopwatch


def test_spans_add_up_to_the_whole():
    before = time.perf_counter()
    stopwatch = Stopwatch()
    started = time.perf_counter()
    for span in ("data", "forward", "backward", "update", "test", "save"):
        stopwatch.switch(span)
        time.sleep(0.01)
    growth_started = time.perf_counter()
    with stopwatch.during("growth"):
        time.sleep(0.02)
    grown = time.perf_counter()
    seconds = stopwatch.seconds()
    assert grown - started <= sum(seconds.values()) <= time.perf_counter() - before
    assert 0.02 <= seconds["growth"] <= grown - growth_started
    assert stopwatch.span == "save"
    assert train_seconds(seconds) == sum(seconds[span] for span in ("data", "forward", "backward", "update"))


def test_reading_twice_counts_nothing_twice():
    stopwatch = Stopwatch()
    stopwatch.switch("test")
    first, second = stopwatch.seconds(), stopwatch.seconds()
    assert set(first) == set(SPANS)
    assert 0 <= second["test"] - first["test"] < 0.1
    assert second["setup"] == first["setup"]
