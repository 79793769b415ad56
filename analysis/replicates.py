"""Which runs are independent: runs with identical curves are copies of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
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
    epochs = data.epochs[["run", "epoch", column, "test_loss"]].sort_values(["run", "epoch"], kind="stable")
    digests = pd.util.hash_pandas_object(epochs[[column, "test_loss"]], index=False).to_numpy()
    starts = np.flatnonzero(~epochs.run.duplicated().to_numpy())
    if not len(starts):
        return {}
    curves = zip(epochs.run.iloc[starts], np.split(digests, starts[1:]), _is_loss_known(epochs, starts), strict=True)
    ids: dict[object, int] = {}
    found = {}
    for run, curve, is_loss_known in curves:
        says_enough = is_loss_known or len(curve) >= _FEWEST_EPOCHS
        found[str(run)] = ids.setdefault(curve.tobytes() if says_enough else run, len(ids))
    return found


def _is_loss_known(epochs: pd.DataFrame, starts: np.ndarray) -> np.ndarray:
    """Return by run whether its test loss was logged: never blank, and not always 0."""
    losses = epochs.test_loss.to_numpy(dtype=float)
    return np.logical_and.reduceat(~np.isnan(losses), starts) & np.logical_or.reduceat(losses != 0, starts)


def seed_components(curves: Mapping[str, int], pairs: pd.DataFrame) -> list[int]:
    """Return by pair a number that pairs share if they are one replicate: of one seed, or with identical curves.

    Args:
        curves: see `curve_ids`.
    """
    sets: DisjointSet = DisjointSet()
    nodes = []
    for seed, run, base in zip(pairs.seed, pairs.run, pairs.baseline_run, strict=True):
        own = ("seed", str(seed))
        nodes.append(own)
        for node in (own, ("arm", curves.get(run, run)), ("baseline", curves.get(base, base))):
            sets.add(node)
            sets.merge(own, node)
    roots: dict[object, int] = {}
    return [roots.setdefault(sets[node], len(roots)) for node in nodes]


def distinct_runs(curves: Mapping[str, int], runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs without copies: of those with identical curves and equal seconds, one for each group and arm.

    Args:
        curves: see `curve_ids`.
    """
    keys = runs[["group", "arm", "elapsed_seconds"]].assign(
        curve=[curves.get(str(run), -1 - place) for place, run in enumerate(runs.index)]
    )
    return runs[~keys.duplicated()]


def replicate_ids(curves: Mapping[str, int], runs: pd.DataFrame, within: Sequence[str] = ("group", "arm")) -> pd.Series:
    """Return a number by run that runs share if they are one replicate: of one seed, or with identical curves.

    Args:
        curves: see `curve_ids`.
        within: columns of ``runs`` in which one replicate's seeds are equal; with ``group`` alone, seeds are merged in
            all arms if one arm has a copy.
    """
    sets: DisjointSet = DisjointSet()
    nodes = []
    for run in tuples(runs[["group", "arm", "seed"]]):
        seed = run.Index if pd.isna(run.seed) else run.seed
        own = ("seed", *(getattr(run, name) for name in within), seed)
        curve = ("curve", run.group, run.arm, curves.get(run.Index, run.Index))
        nodes.append(own)
        sets.add(own)
        sets.add(curve)
        sets.merge(own, curve)
    roots: dict[object, int] = {}
    return pd.Series([roots.setdefault(sets[node], len(roots)) for node in nodes], index=runs.index, dtype="int64")
