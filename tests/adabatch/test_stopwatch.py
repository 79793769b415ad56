"""Every instant belongs to one span."""

import time

import pytest

from adabatch.stopwatch import SPANS, Stopwatch, train_seconds


def test_spans_add_up_to_the_whole_within_a_percent():
    started = time.perf_counter()
    stopwatch = Stopwatch()
    for span in ("data", "forward", "backward", "update", "test", "save"):
        stopwatch.switch(span)
        time.sleep(0.01)
    with stopwatch.during("growth"):
        time.sleep(0.02)
    seconds = stopwatch.seconds()
    assert sum(seconds.values()) == pytest.approx(time.perf_counter() - started, rel=0.01)
    assert seconds["growth"] == pytest.approx(0.02, abs=0.01)
    assert stopwatch.span == "save"
    assert train_seconds(seconds) == sum(seconds[span] for span in ("data", "forward", "backward", "update"))


def test_reading_twice_counts_nothing_twice():
    stopwatch = Stopwatch()
    stopwatch.switch("test")
    first, second = stopwatch.seconds(), stopwatch.seconds()
    assert set(first) == set(SPANS)
    assert 0 <= second["test"] - first["test"] < 0.1
    assert second["setup"] == first["setup"]
