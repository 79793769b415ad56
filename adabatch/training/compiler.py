"""Isolated torch.compile: each run starts with an empty cache and its own temporary folder.

So compile time is charged to the run that caused it.
"""

from __future__ import annotations

import atexit
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from adabatch.config import HardwareConfig
from adabatch.processes.signals import STOP_SIGNALS

#: What ``hardware.compile`` means for torch.compile. CUDA graphs are recorded around the network, not within it.
_MODES = {True: None, "reduce-overhead": None, "max-autotune": "max-autotune-no-cudagraphs"}
#: Limit on the compiled shapes of one network, including partial batches and tests; beyond torch's own limit of 8,
#: shapes would silently run uncompiled.
_MAX_COMPILED_SHAPES = 256
_FOLDER_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
#: Where the user wants the compiler's files; None for the system's temporary folder.
_USERS_FOLDER = os.environ.get(_FOLDER_VARIABLE)
#: The files of the network that was compiled last; removed at exit.
_own_files = ExitStack()
atexit.register(_own_files.close)


def compile_network(network: nn.Module, hardware: HardwareConfig, world_size: int = 1) -> None:
    """Set a network to compile in place, for each new shape, according to ``hardware.compile``.

    Nothing compiled earlier is reused, in this process or from a cache: otherwise the first run of a sweep would pay
    for the growth of all others, and a measurement for that of the run that follows it. Only the startup of the
    compiler itself is paid once per process.

    Args:
        world_size: number of ranks; above 1, the network is wrapped in DistributedDataParallel.
    """
    import torch._dynamo.config as dynamo_config  # takes a second; other runs need not pay for it
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config

    limit = "recompile_limit" if hasattr(dynamo_config, "recompile_limit") else "cache_size_limit"
    setattr(dynamo_config, limit, _MAX_COMPILED_SHAPES)
    if world_size > 1 and torch.__version__ < "2.9":
        dynamo_config.optimize_ddp = False  # split at gradient buckets, its parts could free each other's buffers
    # It advises TF32, which is the user's own choice: hardware.precision.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores", category=UserWarning)
    if hardware.deterministic and hasattr(inductor_config, "deterministic"):
        inductor_config.deterministic = True  # otherwise a resumed run could time and choose other kernels
    inductor_config.fx_graph_cache = functorch_config.enable_autograd_cache = False
    if hasattr(inductor_config, "cpp_cache_precompile_headers"):
        inductor_config.cpp_cache_precompile_headers = False  # they are stored outside the run's own folder
    if hasattr(inductor_config, "quiesce_async_compile_time"):
        inductor_config.quiesce_async_compile_time = 1  # seconds; shielded helpers would delay the exit of the process
    inductor_config.compile_threads = min(inductor_config.compile_threads or 1, torch.get_num_threads())
    _clear_compiled()
    network.compile(dynamic=False, mode=_MODES.get(hardware.compile, hardware.compile))


def _clear_compiled() -> None:
    import torch._dynamo
    from torch._inductor.utils import clear_inductor_caches

    torch._dynamo.reset()
    clear_inductor_caches()
    _own_files.close()
    if _USERS_FOLDER:
        os.makedirs(_USERS_FOLDER, exist_ok=True)
    own = tempfile.TemporaryDirectory(
        prefix="adabatch-compiler-", dir=_USERS_FOLDER or None, ignore_cleanup_errors=True
    )
    folder = _own_files.enter_context(own)
    os.environ[_FOLDER_VARIABLE] = folder
    os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")


@contextmanager
def shielded_compiling() -> Iterator[None]:
    """Keep stop signals from ending the compiler's processes; this process still receives them after the block.

    A batch system signals every process of a job. Processes started within the block inherit the blocked signals.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
