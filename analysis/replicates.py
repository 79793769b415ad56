"""Which runs are independent: runs with identical curves are copies of one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from analysis.frames import Data, tuples

#: Without losses, equal curves of so few epochs may be chance.
_FEWEST_EPOCHS = 5


def curve_ids(data: Data, column: str) -> dict[str, int]:
    """Return a number by run that runs with identical curves share; a run whose curve says too little has its own.

    Curves are of the quality and, where it was logged, of the test loss: two seeds may by chance classify equally many
    samples correctly, but not with the same loss.
    """
    epochs = data.epochs.sort_values(["run", "epoch"], kind="stable")[["run", column, "test_loss"]]
    digests = pd.util.hash_pandas_object(epochs[[column, "test_loss"]], index=False)
    by_run = epochs.assign(digest=digests).groupby("run", observed=True, sort=False)
    known = by_run.test_loss.apply(lambda losses: losses.notna().all() and (losses != 0).any())
    known_runs = {run: bool(value) for run, value in known.items()}
    curves = by_run.digest.apply(tuple)
    ids: dict[object, int] = {}
    found = {}
    for number, (run, curve) in enumerate(curves.items()):
        says_enough = known_runs[run] or len(curve) >= _FEWEST_EPOCHS
        found[str(run)] = ids.setdefault(curve if says_enough else (run, number), len(ids))
    return found


def seed_components(data: Data, pairs: pd.DataFrame, column: str) -> list[int]:
    """Return by pair a number that pairs share if they are one replicate: of one seed, or with identical curves."""
    wanted = {*pairs.run, *pairs.baseline_run}
    ids = curve_ids(data.select_runs(wanted), column)
    sets: DisjointSet = DisjointSet()
    nodes = []
    for seed, run, base in zip(pairs.seed, pairs.run, pairs.baseline_run, strict=True):
        own = ("seed", str(seed))
        nodes.append(own)
        for node in (own, ("arm", ids.get(run, run)), ("baseline", ids.get(base, base))):
            sets.add(node)
        sets.merge(own, ("arm", ids.get(run, run)))
        sets.merge(own, ("baseline", ids.get(base, base)))
    roots: dict[object, int] = {}
    return [roots.setdefault(sets[node], len(roots)) for node in nodes]


def distinct_runs(data: Data, runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return runs without copies: of those with identical curves and equal seconds, one for each group and arm."""
    ids = curve_ids(data.select_runs(set(runs.index)), column)
    keys = pd.DataFrame(
        {"curve": [ids.get(str(run), -1 - place) for place, run in enumerate(runs.index)],
         "seconds": runs.elapsed_seconds.to_numpy()},
        index=runs.index,
    ).join(runs[["group", "arm"]])  # fmt: skip
    return runs[~keys.duplicated()]


def replicate_ids(data: Data, runs: pd.DataFrame, column: str, within: Sequence[str] = ("group", "arm")) -> pd.Series:
    """Return a number by run that runs share if they are one replicate: of one seed, or with identical curves.

    Args:
        column: of ``epochs``, the quality.
        within: columns of ``runs`` in which one replicate's seeds are equal; with ``group`` alone, seeds are merged in
            all arms if one arm has a copy.
    """
    ids = curve_ids(data.select_runs(set(runs.index)), column)
    sets: DisjointSet = DisjointSet()
    nodes = []
    for run in tuples(runs[["group", "arm", "seed"]]):
        seed = run.Index if pd.isna(run.seed) else run.seed
        own = ("seed", *(getattr(run, name) for name in within), seed)
        curve = ("curve", run.group, run.arm, ids.get(run.Index, run.Index))
        nodes.append(own)
        sets.add(own)
        sets.add(curve)
        sets.merge(own, curve)
    roots: dict[object, int] = {}
    return pd.Series([roots.setdefault(sets[node], len(roots)) for node in nodes], index=runs.index, dtype="int64")
