"""Whatever a command line, an option file or a sweep holds, the command ends with a sentence; see `hostile_configs`."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.hostile_configs import Outcome, judge, make_case

_WELL = (Outcome.ACCEPTED, Outcome.REFUSED)


def _faults(seeds: Iterable[int]) -> list[str]:
    """Return the cases of some seeds that break the contract, and print the counts."""
    counts: collections.Counter[Outcome] = collections.Counter()
    faults = []
    for seed in seeds:
        case = make_case(seed)
        with tempfile.TemporaryDirectory() as folder:
            verdict = judge(case, Path(folder))
        counts[verdict.outcome] += 1
        if verdict.outcome not in _WELL:
            faults.append(f"seed {seed}: {verdict.outcome} of {case}\n{verdict.detail[-2000:]}")
    print({outcome.value: counts[outcome] for outcome in Outcome})
    return faults


def test_hostile_configs_end_with_a_sentence() -> None:
    faults = _faults(range(40))
    assert not faults, "\n".join(faults)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_two_thousand_hostile_configs_end_with_a_sentence() -> None:
    faults = _faults(range(10_000, 12_000))
    assert not faults, "\n".join(faults)
