"""The worker: what one process does for a run, from setting up the device to writing the summary."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch

from adabatch.config import TrainConfig, config_hash, is_auto, load_config, save_config
from adabatch.data import load_dataset
from adabatch.data.order import derived_seed
from adabatch.errors import EXIT_FAILED, RankFailed
from adabatch.plugins import Kind
from adabatch.processes.rank_place import RankPlace
from adabatch.processes.ranks import ProcessGroupRanks, Ranks
from adabatch.processes.signals import StopRequest
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import META_FORMAT_VERSION, read_meta, update_meta
from adabatch.rundir.outcome import Failure, mark_done, mark_failed, write_summary
from adabatch.rundir.provenance import (
    CodeVersion,
    cpu_model,
    gpu_versions,
    library_versions,
    new_segment,
    utc_now,
)
from adabatch.rundir.states import State
from adabatch.terminal import counted
from adabatch.trackers import Tracker
from adabatch.trackers.make import make_tracker
from adabatch.training.cuda_graphs import graphs_text
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES, Engine
from adabatch.training.loop import TrainingLoop
from adabatch.training.own_code import own_code_facts, own_codes
from adabatch.training.reporting import MainReporter, Reporter
from adabatch.training.stopwatch import Stopwatch

_START_TIMEOUT = timedelta(minutes=2)
#: The first rank may have to compile a large network several times before the others can connect.
_MEASURING_TIMEOUT = timedelta(minutes=30)
#: Arms may differ in their schedules, and trackers change nothing.
_COMPARED_CODE = (Kind.NETWORK, Kind.DATASET, Kind.OPTIMIZER)
#: From a config and a device to the config without ``auto``, a sentence for each measured value, and the values by key.
ResolveAuto = Callable[[TrainConfig, torch.device], tuple[TrainConfig, Sequence[str], dict[str, Any]]]
_log = logging.getLogger(__name__)


class Worker:
    """Builds what a run needs on one rank, trains, and records how it ended.

    Args:
        config: as saved in the run directory.
        run_dir: prepared.
        place: of this rank; None for a single-process run.
        stop: set by signals.
        resolve_auto: called if the config holds an ``auto``.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_dir: RunDir,
        place: RankPlace | None,
        stop: StopRequest,
        resolve_auto: ResolveAuto,
    ) -> None:
        self._run_dir = run_dir
        self._config = config
        self._device = make_device(config, place.gpu if place else 0)
        self._stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
        self.world_size = place.world_size if place else 1
        start_timeout = _MEASURING_TIMEOUT if is_auto(config) else _START_TIMEOUT
        if place is None or place.rank == 0:
            self._resolve_auto(resolve_auto)
        self._ranks = (
            ProcessGroupRanks(place, self._device, self._abandon, start_timeout)
            if place and self.world_size > 1
            else Ranks()
        )
        if not self._ranks.is_main:
            self._config = load_config(run_dir.config)
        self._loop: TrainingLoop | None = None
        self._tracker = Tracker()
        self._reporter = Reporter()
        self._meta: dict[str, Any] = {}
        self._build(stop)

    def train(self) -> None:
        """Train to the end of the run or to a signal."""
        assert self._loop is not None
        self._loop.train()

    def _resolve_auto(self, resolve_auto: ResolveAuto) -> None:
        """Replace ``auto`` by the values measured to be best on this device, also in the saved config."""
        if not is_auto(self._config):
            return
        self._config, reasons, measured = resolve_auto(self._config, self._device)
        for sentence in reasons:
            _log.info("%s", sentence)
        save_config(self._config, self._run_dir.config)
        update_meta(self._run_dir, measured=measured)

    def _build(self, stop: StopRequest) -> None:
        config = self._config
        hardware = config.hardware
        dataset = load_dataset(config.dataset, self._device, hardware.channels_last, DTYPES[hardware.precision])
        engine = Engine(config, self._device, self.world_size)
        if engine.why_no_graphs:
            _log.warning("CUDA graphs are not used: %s", engine.why_no_graphs)
        if self.world_size > 1:
            # The ranks start with equal weights, but random numbers in training, such as for dropout, must differ.
            torch.manual_seed(derived_seed("rank", config.seed, self._ranks.rank))
        if self._ranks.is_main:
            self._meta = self._write_meta(engine)
            self._tracker = make_tracker(config, self._meta, self._run_dir.path)
            span = functools.partial(getattr, self._stopwatch, "span")
            self._reporter = MainReporter(self._run_dir, config.num_epochs, self._tracker, span)
            first = config.schedule.batch_size
            if first > dataset.train.num_samples:
                _log.warning(
                    "schedule.batch_size is %d; capped at the data set's %d samples, and the learning rate with it",
                    first,
                    dataset.train.num_samples,
                )
        self._loop = TrainingLoop(
            config, dataset, engine, self._ranks, self._run_dir, self._reporter, stop, self._stopwatch
        )

    def _write_meta(self, engine: Engine) -> dict[str, Any]:
        config = self._config
        codes = own_codes(config)
        before = read_meta(self._run_dir)
        is_gpu = self._device.type == "cuda"
        code = CodeVersion.of()
        if code.unknown:
            _log.log(logging.WARNING if code.is_refused else logging.INFO, "%s", code.unknown)
        made_by = {
            **code.facts,
            **library_versions(),
            **(gpu_versions() if is_gpu else {}),
            "device": self._device.type,
            "device_model": torch.cuda.get_device_name(self._device) if is_gpu else cpu_model(),
        }
        return update_meta(
            self._run_dir,
            format_version=META_FORMAT_VERSION,
            **made_by,
            **new_segment(before, self.world_size, made_by),
            device_memory_bytes=torch.cuda.get_device_properties(self._device).total_memory if is_gpu else None,
            num_threads=torch.get_num_threads(),
            cuda_graphs=graphs_text(engine.why_no_graphs),
            config_hash=config_hash(config),
            own_code=own_code_facts(codes),
            **{f"{kind}_code": codes[kind].identity for kind in _COMPARED_CODE if kind in codes},
            num_parameters=engine.num_parameters,
            num_train_samples=config.dataset.num_train_samples,
            num_test_samples=config.dataset.num_test_samples,
        )

    def finish(self, state: State, cause: str | None, exit_status: int) -> int:
        """Record how the run ended, leave the process group, and return ``exit_status``."""
        self._reporter.close()
        if self._ranks.is_main:
            summary = write_summary(self._run_dir, state, cause, self._known())
            self._tracker.finish(summary.as_dict(), exit_status)
            if state is State.DONE:
                mark_done(self._run_dir, f"{counted(summary.epochs or 0, 'epoch')}, {utc_now()}")
        if state is not State.FAILED:
            self._ranks.wait_for_all()
            self._ranks.close()
        return exit_status

    def _known(self) -> dict[str, Any]:
        """Return the keys of the summary besides state and cause."""
        config = self._config
        known = {
            "num_epochs": config.num_epochs,
            "restarts": self._meta.get("restarts", 0),
            "lost_seconds": self._reporter.lost_seconds,
            "max_micro_batch_size": config.max_micro_batch_size,
            "batch_norm": config.batch_norm,
            "world_size": self.world_size,
        }
        if self._loop is None:
            return known
        try:
            return {**known, **self._loop.summary()}
        except RuntimeError as error:  # a failed GPU cannot report its times
            _log.warning("the times of this segment are lost: %s", error)
            return known

    def _abandon(self, error: RankFailed) -> None:
        """End this process from the monitor's thread: the main thread may wait forever for the dead rank."""
        failure = Failure("RankFailed", str(error))
        _log.error("%s", failure)
        if not self._run_dir.failed.exists():
            mark_failed(self._run_dir, failure)
        if self._ranks.is_main:
            write_summary(self._run_dir, State.FAILED, str(failure))
        self._reporter.close()
        os._exit(EXIT_FAILED)
