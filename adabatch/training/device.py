"""The device of a process, set up as the config says: threads, determinism, precision, memory."""

from __future__ import annotations

import ctypes
import logging
import os
import platform

import torch

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.rundir.provenance import available_cores

_log = logging.getLogger(__name__)
#: mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


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
        _keep_freed_memory()
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


def _keep_freed_memory() -> None:
    """Keep what this process frees for its next allocations, instead of giving it back to the system.

    By default glibc maps every large block anew, and each update pays for its activations' page faults: for
    ResNet-20 with micro-batches of 1,024 samples on two cores that is nearly half of the time. The price is a peak
    that is some ten percent higher. Where the user has set malloc up by environment variables, or the C library is
    another, nothing is changed.
    """
    is_set_up = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if is_set_up or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER)):
        _log.debug("mallopt refused; freed memory is returned to the system")
