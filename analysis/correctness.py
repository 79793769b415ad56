"""The sampling error of a test set, from which of its samples each run classified correctly in the end."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd

from adabatch.reading import read_bytes
from adabatch.rundir.files import RunDir
from analysis.intervals import paired_sampling_sd


def sampling_deviation(pairs: pd.DataFrame) -> float:
    """Return the standard error of the mean difference of pairs over other test sets, as a fraction.

    It is that of one pair, averaged over the pairs: all runs share the test set, so that more seeds do not make it
    smaller. NaN if the correctness of a pair is unknown.
    """
    found = [_of_pair(Path(str(run)), Path(str(base))) for run, base in zip(pairs.run, pairs.baseline_run, strict=True)]
    return float(np.mean(found)) if found else math.nan


def _of_pair(run: Path, base: Path) -> float:
    own, other = read_correctness(run), read_correctness(base)
    if own is None or other is None or len(own) != len(other):
        return math.nan
    return paired_sampling_sd(int((own & ~other).sum()), int((other & ~own).sum()), len(own))


def _read_array(content: bytes) -> np.ndarray:
    """Return the array of an NPY file; what its header claims to follow must be there."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("it is no array that this package wrote")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    values = np.frombuffer(content[stream.tell() :], dtype=np.uint8)
    if dtype != np.uint8 or shape != values.shape:
        raise ValueError(f"its header claims {shape} values of {dtype}, and {len(values)} bytes follow")
    return values


def read_correctness(run: Path) -> np.ndarray | None:
    """Return which test samples a run classified correctly in its last epoch; None if it is not known."""
    try:
        values = _read_array(read_bytes(RunDir(run).test_correct))
    except (OSError, ValueError):
        return None
    if len(values) < 2 or values[0] > 7:
        return None
    num_samples = 8 * (len(values) - 1) - int(values[0])  # the first byte is the number of padding bits
    return np.unpackbits(values[1:])[:num_samples].astype(bool)
