"""Sets up the device of a process according to the config: threads, determinism, precision, memory."""

from __future__ import annotations

import ctypes
import logging
import os
import platform

import torch

from adabatch.config import HardwareConfig, TrainConfig
from adabatch.errors import ConfigError
from adabatch.rundir.cores import available_cores

_log = logging.getLogger(__name__)
#: mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
#: Kernels that cuDNN tries for each convolution of a new shape, the ones that it expects to be fast first. Trying ten,
#: as torch does, took up to 3 s a shape for ResNet-20, and every stage of a growing batch has its own shape.
_MAX_TRIED_KERNELS = 3


def make_device(config: TrainConfig, gpu: int = 0) -> torch.device:
    """Return this rank's device, and set threads, determinism and precision according to the config.

    Args:
        gpu: index of the GPU to use if the device is ``cuda``.

    Raises:
        ConfigError: if the config wants a GPU and there is none for this rank.
    """
    hardware = config.hardware
    if hardware.device == "cuda":
        _require_gpu(hardware, gpu)
    torch.set_num_threads(hardware.num_threads or max(1, available_cores() // hardware.num_devices))
    if hardware.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # none is read
    if hardware.device == "cpu":
        _keep_freed_memory()
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = not hardware.deterministic
    torch.backends.cudnn.benchmark_limit = _MAX_TRIED_KERNELS
    _set_tf32(hardware.precision == "tf32")
    device = torch.device("cuda", gpu)
    torch.cuda.set_device(device)
    return device


def _require_gpu(hardware: HardwareConfig, gpu: int) -> None:
    found = torch.cuda.device_count()
    if found == 0:
        raise ConfigError("hardware.device is cuda; it must be cpu on a machine where torch finds no GPU.")
    if found <= gpu:
        raise ConfigError(
            f"hardware.num_devices is {hardware.num_devices}; it must be at most {found} on a machine where torch "
            f"finds {found} GPU(s)."
        )


def require_gpus(hardware: HardwareConfig) -> None:
    """Raise ConfigError if a run's ranks on this machine want more GPUs than there are; starts nothing on them."""
    if hardware.device == "cuda":
        _require_gpu(hardware, hardware.num_devices - 1)


def _set_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 for both convolutions and matrix products; torch by default allows it only for convolutions.

    This uses the older of torch's two APIs: up to torch 2.11, the newer one leaves convolutions at TF32 and breaks
    compiling.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _keep_freed_memory() -> None:
    """Keep freed memory for this process's next allocations, instead of returning it to the system.

    By default glibc maps every large block anew, so each update pays for page faults on its activations: nearly half of
    the time for ResNet-20 with micro-batches of 1,024 samples on two cores. In return, peak memory is about ten percent
    higher. Nothing changes if the user configured malloc by environment variables or the C library is not glibc.
    """
    is_set_up = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if is_set_up or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER)):
        _log.debug("mallopt refused; freed memory is returned to the system")
