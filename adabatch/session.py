"""A session: one process's part in a run, from device to summary."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

import torch

from adabatch.config import TrainConfig, config_hash, is_auto, load_config, save_config, to_dict
from adabatch.data import load_dataset
from adabatch.data.order import derived_seed
from adabatch.distributed import ProcessGroupRanks, Ranks
from adabatch.environment import (
    META_FORMAT_VERSION,
    available_cores,
    code_version,
    cpu_model,
    gpu_versions,
    library_versions,
    segment,
    utc_now,
)
from adabatch.errors import EXIT_DONE, EXIT_FAILED, ConfigError, RankFailed
from adabatch.host_memory import keep_freed_memory
from adabatch.learner import DTYPES, Learner
from adabatch.rank_place import RankPlace
from adabatch.reporting import MainReporter, Reporter
from adabatch.run_dir import RunDir, write_json_atomic
from adabatch.stop_signals import StopRequest
from adabatch.stopwatch import Stopwatch
from adabatch.tracking import Tracker, make_tracker
from adabatch.trainer import Trainer

_START_TIMEOUT = timedelta(minutes=2)
#: The first rank may have to compile a large network several times before the others meet it.
_MEASURING_TIMEOUT = timedelta(minutes=30)
_log = logging.getLogger(__name__)


def make_device(config: TrainConfig, gpu: int = 0) -> torch.device:
    """Return this rank's device, the GPU of that number if any, and set threads and determinism as the config says.

    Raises:
        ConfigError: if the config wants a GPU and there is none for this rank.
    """
    hardware = config.hardware
    if hardware.device == "cuda" and torch.cuda.device_count() <= gpu:
        raise ConfigError(
            f"hardware.device is cuda; it must be cpu on a machine where torch finds {torch.cuda.device_count()} "
            "GPU(s) for this run."
        )
    torch.set_num_threads(hardware.num_threads or max(1, available_cores() // hardware.num_devices))
    if hardware.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # none is read
    if hardware.device == "cpu":
        keep_freed_memory()
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = not hardware.deterministic
    _set_tf32(hardware.precision == "tf32")
    device = torch.device("cuda", gpu)
    torch.cuda.set_device(device)
    return device


def _set_tf32(allowed: bool) -> None:
    """Let convolutions and matrix products round their fp32 inputs to TF32, or forbid it: torch's default is half.

    By the older of torch's two ways: the newer leaves convolutions at TF32 up to torch 2.11, where compiling fails
    with it as well.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class Session:
    """Builds what a run needs on one rank, trains, and writes how it ended.

    Args:
        config: as saved in the run directory.
        run_dir: prepared.
        place: of this rank; None for a run of one process.
        stop: set by signals.
    """

    def __init__(self, config: TrainConfig, run_dir: RunDir, place: RankPlace | None, stop: StopRequest) -> None:
        self._run_dir = run_dir
        self._config = config
        self._device = make_device(config, place.gpu if place else 0)
        self._stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
        self.world_size = place.world_size if place else 1
        start_timeout = _MEASURING_TIMEOUT if is_auto(config) else _START_TIMEOUT
        if place is None or place.rank == 0:
            self._settle_by_measurement()
        self._ranks = (
            ProcessGroupRanks(place, self._device, self._abandon, start_timeout)
            if place and self.world_size > 1
            else Ranks()
        )
        if not self._ranks.is_main:
            self._config = load_config(run_dir.config)
        self._trainer: Trainer | None = None
        self._tracker = Tracker()
        self._reporter = Reporter()
        self._meta: dict[str, Any] = {}
        self._build(stop)

    def train(self) -> None:
        """Train to the end of the run or to a signal."""
        assert self._trainer is not None
        self._trainer.train()

    def _settle_by_measurement(self) -> None:
        """Replace ``auto`` by what this device is measured to do best, in the saved config too."""
        if not is_auto(self._config):
            return
        from adabatch.measure.settle import settle

        settled = settle([self._config], self._device)
        for sentence in settled.reasons:
            _log.info("%s", sentence)
        (self._config,) = settled.configs
        save_config(self._config, self._run_dir.config)
        self._run_dir.update_meta({"measured": settled.measured})

    def _build(self, stop: StopRequest) -> None:
        config = self._config
        hardware = config.hardware
        dataset = load_dataset(config.dataset, self._device, hardware.channels_last, DTYPES[hardware.precision])
        learner = Learner(config, self._device, self.world_size)
        if self.world_size > 1:
            # The ranks begin with equal weights, but what they draw in training, such as dropout, must not be equal.
            torch.manual_seed(derived_seed("rank", config.seed, self._ranks.rank))
        if self._ranks.is_main:
            self._meta = self._write_meta(learner.num_parameters)
            self._tracker = make_tracker(config.tracker, to_dict(config), self._meta, self._run_dir.path)
            self._reporter = MainReporter(self._run_dir, config.num_epochs, self._tracker)
            first = config.schedule.batch_size
            if first > dataset.train.num_samples:
                _log.warning(
                    "schedule.batch_size is %d; capped to the data set's %d samples, and the learning rate with it",
                    first,
                    dataset.train.num_samples,
                )
        self._trainer = Trainer(
            config, dataset, learner, self._ranks, self._run_dir, self._reporter, stop, self._stopwatch
        )

    def _write_meta(self, num_parameters: int) -> dict[str, Any]:
        config = self._config
        before = self._run_dir.read_json(self._run_dir.meta)
        is_gpu = self._device.type == "cuda"
        made_by = {
            **code_version(),
            **library_versions(),
            **(gpu_versions() if is_gpu else {}),
            "device": self._device.type,
            "device_model": torch.cuda.get_device_name(self._device) if is_gpu else cpu_model(),
        }
        # A run that goes on elsewhere is made by both.
        segments = [*before.get("segments", []), {**segment(self.world_size), **made_by}]
        return self._run_dir.update_meta(
            {
                "format_version": META_FORMAT_VERSION,
                **made_by,
                "host": segments[-1]["host"],
                "num_threads": torch.get_num_threads(),
                "world_size": self.world_size,
                "job_ids": sorted({entry["job_id"] for entry in segments if entry["job_id"]}),
                "restarts": len(segments) - 1,
                "segments": segments,
                "config_hash": config_hash(config),
                "num_parameters": num_parameters,
                "num_train_samples": config.dataset.num_train_samples,
                "num_test_samples": config.dataset.num_test_samples,
                "started_at": before.get("started_at", utc_now()),
            }
        )

    def finish(self, state: str, cause: str | None, exit_status: int) -> int:
        """Write ``summary.json``, mark a finished run, say farewell to the others, and return ``exit_status``."""
        self._reporter.close()
        if self._ranks.is_main:
            summary = self._summary(state, cause)
            write_json_atomic(self._run_dir.summary, summary)
            self._tracker.finish(summary, exit_status)
            if exit_status == EXIT_DONE:
                self._run_dir.mark_done(f"{summary['epochs']} epochs, {utc_now()}")
        if state != "failed":
            self._ranks.wait_for_all()
            self._ranks.close()
        return exit_status

    def _summary(self, state: str, cause: str | None) -> dict[str, Any]:
        config = self._config
        known = {
            "state": state,
            "cause": cause,
            "num_epochs": config.num_epochs,
            "restarts": self._meta.get("restarts", 0),
            "lost_seconds": self._reporter.lost_seconds,
            "max_micro_batch_size": config.max_micro_batch_size,
            "batch_norm": config.batch_norm,
            "world_size": self.world_size,
        }
        if self._trainer is None:
            return known
        try:
            return {**known, **self._trainer.summary()}
        except RuntimeError as error:  # a GPU that failed cannot tell its times any more
            _log.warning("the times of this segment are lost: %s", error)
            return known

    def _abandon(self, failure: RankFailed) -> None:
        """End this process from the monitor's thread: the main one may wait for the dead rank for ever."""
        _log.error("RankFailed: %s", failure)
        if not self._run_dir.failed.exists():
            self._run_dir.mark_failed("RankFailed", str(failure), "")
        if self._ranks.is_main:
            write_json_atomic(self._run_dir.summary, {"state": "failed", "cause": f"RankFailed: {failure}"})
        self._reporter.close()
        os._exit(EXIT_FAILED)
