"""Isolated torch.compile: each run starts with an empty cache and its own temporary folder.

So the time to compile is charged to the run that caused it.
"""

from __future__ import annotations

import atexit
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from adabatch.config import HardwareConfig
from adabatch.processes.signals import STOP_SIGNALS

#: Modes of torch.compile that replay CUDA graphs.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
#: Compiled shapes of one network, with those of a partial batch and of tests; torch's own limit of 8 would leave the
#: others uncompiled without a word.
_MAX_COMPILED_SHAPES = 256
_FOLDER_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
#: Where the user wants the compiler's files; None is the system's folder for temporary ones.
_USERS_FOLDER = os.environ.get(_FOLDER_VARIABLE)
#: The files of the network that was compiled last; they go with the process.
_own_files = ExitStack()
atexit.register(_own_files.close)


def compile_network(network: nn.Module, hardware: HardwareConfig, world_size: int = 1) -> None:
    """Let a network compile itself in place, for each shape that it meets, as ``hardware.compile`` says.

    What was compiled before, here or by an earlier process, is not used: the first run of a sweep would pay for the
    growth of all others, and a measurement for that of the run which follows it. What is left to a process's first
    compilation alone is the start of the compiler itself.

    Args:
        world_size: ranks; with more than one, DistributedDataParallel surrounds the network.
    """
    import torch._dynamo.config as dynamo_config  # takes a second, which other runs need not spend
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config

    limit = "recompile_limit" if hasattr(dynamo_config, "recompile_limit") else "cache_size_limit"
    setattr(dynamo_config, limit, _MAX_COMPILED_SHAPES)
    if world_size > 1 and (hardware.compile in CUDA_GRAPH_MODES or torch.__version__ < "2.9"):
        # Cut to the buckets of gradients, a network records its graphs again and again; before 2.9 its parts could
        # also give away each other's buffers.
        dynamo_config.optimize_ddp = False
    if hardware.deterministic and hasattr(inductor_config, "deterministic"):
        inductor_config.deterministic = True  # else a resumed run could choose other kernels, by their times
    inductor_config.fx_graph_cache = functorch_config.enable_autograd_cache = False
    if hasattr(inductor_config, "cpp_cache_precompile_headers"):
        inductor_config.cpp_cache_precompile_headers = False  # they outlive even an own folder
    if hasattr(inductor_config, "quiesce_async_compile_time"):
        inductor_config.quiesce_async_compile_time = 1  # seconds; shielded helpers would delay the process's end
    inductor_config.compile_threads = min(inductor_config.compile_threads or 1, torch.get_num_threads())
    _forget_everything()
    network.compile(dynamic=False, mode=None if hardware.compile is True else hardware.compile)


def _forget_everything() -> None:
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


def keep_gradients_outside_graphs(network: nn.Module) -> None:
    """Give gradients a place that no replay of a CUDA graph overwrites: each micro-batch's is added to what is there.

    They must then be set to zero, never to None.
    """
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)


@contextmanager
def shielded_compiling() -> Iterator[None]:
    """Keep signals that ask for a stop from the compiler's processes, which they would end; this one hears of them.

    A batch system signals every process of a job. What starts within the block inherits that the signals are blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
