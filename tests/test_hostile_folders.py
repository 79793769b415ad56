"""Whatever lies in a folder that others can write to: every command keeps its contract on it; see `tests.hostile`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests import hostile

_SECONDS = 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_commands_keep_their_contract(tmp_path: Path, seed: int) -> None:
    folder = hostile.make_folder(tmp_path / "folder", seed)
    for name in hostile.commands_of(seed):
        outcome = hostile.check(folder, *hostile.COMMANDS[name], _SECONDS)
        assert outcome.is_sound, (name, folder.how, outcome)
    hostile.remove(folder)


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_commands_keep_their_contract_on_a_thousand_folders(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    broken = []
    for seed in range(1000):
        folder = hostile.make_folder(tmp_path / f"folder_{seed}", seed)
        for name in hostile.commands_of(seed):
            encoding = "ascii" if seed % 7 == 0 and name != "status json" else "utf-8"
            outcome = hostile.check_apart(folder, name, _SECONDS, encoding)
            counts[outcome.kind] += 1
            if not outcome.is_sound:
                broken.append((seed, name, folder.how, outcome))
        hostile.remove(folder)
    print(dict(counts))
    assert not broken
