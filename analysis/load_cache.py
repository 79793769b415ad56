"""What was read of a folder's runs, kept beside them, so that the next process need not read them again.

The file is ``.analysis/load.parquet`` in the folder that was loaded: a hidden folder, in which nobody looks for runs,
with one row a run. It holds the contents of sound runs only; states are read anew, and so is what is damaged. A run's
row counts while its files have the sizes and times of change that they had when they were read. The file may be deleted
at any time. It is written where pyarrow is installed and the folder can be written; whatever is wrong with it, the runs
are read as if it were not there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import adabatch
from adabatch.files import write_bytes_atomic
from adabatch.rundir.columns import COLUMNS
from analysis.run_epochs import MALFORMED, RunEpochs, check_rows
from analysis.run_files import RunFiles, Signature, check_kinds

_log = logging.getLogger(__name__)

#: Fewer runs are read sooner than pyarrow is imported.
FEWEST_RUNS = 100
_FOLDER, _FILE = ".analysis", "load.parquet"
#: A file may change again without another time of change if that is no older than this when it is read.
_GRANULARITY_NS = 2_000_000_000
#: Writing the cache costs about as much as reading this share of the runs.
_WORTHWHILE_SHARE = 0.05
_RUNS_PER_ROW_GROUP = 1000
_RULES = b"adabatch_rules"
_OF_RUN = ("run", "signature", "values")


class LoadCache:
    """The cache of one folder; every method does nothing where there is none.

    Make it before the signatures of the runs: of what changed shortly before that, or later, nothing is written.

    Args:
        num_runs: that were found in the folder.
    """

    def __init__(self, folder: Path, num_runs: int) -> None:
        self._folder = folder
        self._file = folder / _FOLDER / _FILE
        self._is_usable = num_runs >= FEWEST_RUNS and importlib.util.find_spec("pyarrow") is not None
        self._num_rows, self._found = 0, frozenset[Path]()
        self._now_ns = self._clock_ns() if self._is_usable else None

    def _clock_ns(self) -> int | None:
        """Return the time by the clock of the file system, which may be another machine's; None if it is read-only."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            if stat.S_ISDIR(os.lstat(self._file.parent).st_mode):  # a link might lead anywhere
                with tempfile.TemporaryFile(dir=self._file.parent) as file:
                    return os.fstat(file.fileno()).st_mtime_ns
        return None

    def read(self, signatures: Mapping[Path, Signature]) -> dict[Path, RunFiles]:
        """Return those of the runs that are in the cache and have not changed since."""
        found: dict[Path, RunFiles] = {}
        if self._is_usable:
            try:
                found = self._read(signatures)
            except Exception as error:  # a file that anybody may have written; the runs are there to be read
                _log.debug("%s is not used: %s: %s", self._file, type(error).__name__, error)
        self._found = frozenset(found)
        return found

    def _read(self, signatures: Mapping[Path, Signature]) -> dict[Path, RunFiles]:
        import pyarrow.parquet

        if not stat.S_ISREG(os.lstat(self._file).st_mode):
            raise ValueError("it is no regular file")
        wanted = {(self._name(path), _text_of(signature)): path for path, signature in signatures.items()}
        with (
            open(self._file, "rb") as stream,
            pyarrow.parquet.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            if not file.schema_arrow.equals(_schema(), check_metadata=False):
                raise ValueError("it has other columns")
            if (file.schema_arrow.metadata or {}).get(_RULES) != _rules():
                raise ValueError("it was written by another version")
            self._num_rows = file.metadata.num_rows
            groups = []
            for place in range(file.num_row_groups):
                groups.append(_wanted_of(file.read_row_group(place, use_threads=False), wanted))
        paths = [path for group, _, _ in groups for path in group]
        values = json.loads(f"[{','.join(text for _, texts, _ in groups for text in texts)}]")
        rows = [part for _, _, parts in groups for part in parts]
        if not len(set(paths)) == len(paths) == len(values):
            raise ValueError("it holds a run twice")
        check_kinds(values)
        return {
            path: RunFiles(path, {**of_run, "run": path.as_posix()}, RunEpochs(numbers))
            for path, of_run, numbers in zip(paths, values, rows, strict=True)
        }

    def write(self, runs: Sequence[RunFiles], signatures: Mapping[Path, Signature]) -> None:
        """Replace the cache, if it lacks many of the runs or holds many that are not among them."""
        if self._now_ns is None:
            return
        latest_ns = self._now_ns - _GRANULARITY_NS
        new = {
            run.path
            for run in runs
            if run.path not in self._found and _is_old(signatures[run.path], latest_ns) and _can_be_kept(run)
        }
        kept = [run for run in runs if run.path in self._found or run.path in new]
        is_half_gone = self._num_rows > 2 * len(self._found)
        if not kept or not (len(new) >= _WORTHWHILE_SHARE * len(kept) or is_half_gone):
            return
        try:
            write_bytes_atomic(self._file, self._content(kept, signatures), durable=False)
        except Exception as error:  # no space, a run's name that is no text, a broken pyarrow: nobody needs the file
            _log.debug("%s is not written: %s: %s", self._file, type(error).__name__, error)

    def _content(self, runs: Sequence[RunFiles], signatures: Mapping[Path, Signature]) -> memoryview:
        import pyarrow.parquet

        stream = pyarrow.BufferOutputStream()
        schema = _schema().with_metadata({_RULES: _rules()})
        options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
        with pyarrow.parquet.ParquetWriter(stream, schema, write_page_checksum=True, **options) as writer:
            for start in range(0, len(runs), _RUNS_PER_ROW_GROUP):
                few = runs[start : start + _RUNS_PER_ROW_GROUP]
                ends = np.cumsum([0, *(run.num_epochs for run in few)], dtype=np.int32)
                columns: list[Any] = [
                    [self._name(run.path) for run in few],
                    [_text_of(signatures[run.path]) for run in few],
                    [json.dumps({**run.values, "run": ""}) for run in few],
                ]
                for place in range(len(COLUMNS)):
                    numbers = np.concatenate([run.epochs.rows[place] for run in few])
                    columns.append(pyarrow.ListArray.from_arrays(ends, numbers))
                writer.write_table(pyarrow.table(columns, schema=schema))
        return memoryview(stream.getvalue())

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _wanted_of(
    group: Any, wanted: Mapping[tuple[str, str], Path]
) -> tuple[list[Path], list[str], Iterable[np.ndarray]]:
    """Return of the wanted runs among some rows of the cache: paths, values as JSON, and epochs.

    Raises:
        ValueError: or another exception, if the rows do not hold what they should.
    """
    if any(group[name].null_count for name in _OF_RUN):
        raise ValueError("it lacks values")
    names, signatures, values = (group[name].to_pylist() for name in _OF_RUN)
    found = [wanted.get(key) for key in zip(names, signatures, strict=True)]
    lists = [group[name].combine_chunks() for name in COLUMNS]
    lengths = lists[0].value_lengths().to_numpy()
    if not all(one.null_count == 0 and np.array_equal(one.value_lengths().to_numpy(), lengths) for one in lists):
        raise ValueError("its columns have different lengths")
    rows = np.stack([one.flatten().to_numpy(zero_copy_only=True) for one in lists])  # with nulls this is an error
    starts = np.cumsum(lengths) - lengths
    if len(starts[lengths > 0]):
        check_rows(rows, starts[lengths > 0])
    parts = np.split(rows, starts[1:], axis=1)
    places = [place for place, path in enumerate(found) if path is not None]
    return (
        [path for path in found if path is not None],
        [values[place] for place in places],
        [parts[place] for place in places],
    )


def _is_old(signature: Signature, latest_ns: int) -> bool:
    return all(changed_ns < latest_ns for _, changed_ns, _ in signature)


def _can_be_kept(run: RunFiles) -> bool:
    """Return whether a run is sound, and nothing is lost in JSON and numbers."""
    if run.damages or run.epochs.others is not None or run.values["results_only"]:
        return False
    try:
        check_kinds([run.values])
    except MALFORMED:
        return False
    return True


def _text_of(signature: Signature) -> str:
    return json.dumps(signature)


@functools.cache
def _schema() -> Any:
    import pyarrow

    text, numbers = pyarrow.string(), pyarrow.list_(pyarrow.float64())
    return pyarrow.schema([*((name, text) for name in _OF_RUN), *((name, numbers) for name in COLUMNS)])


@functools.cache
def _rules() -> bytes:
    """Return what is another whenever runs might be read otherwise: by other code, or by another parser."""
    digest = hashlib.sha256(f"{pd.__version__} {yaml.__version__}".encode())
    for file in _code():
        digest.update(file.read_bytes())
    return f"{adabatch.__version__} {digest.hexdigest()}".encode()


def _code() -> Iterator[Path]:
    for package in (Path(adabatch.__file__).parent, Path(__file__).parent):
        yield from sorted(package.rglob("*.py"))
