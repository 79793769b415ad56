"""torch.compile as a comparison of runs needs it: whoever compiles begins from nothing, and pays for all of it."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from adabatch.config import HardwareConfig
from adabatch.stop_signals import STOP_SIGNALS

#: Modes of torch.compile that replay CUDA graphs.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
#: Compiled shapes of one network, with those of a partial batch and of tests; torch's own limit of 8 would leave the
#: others uncompiled without a word.
_MAX_COMPILED_SHAPES = 256
#: Where the compiler keeps its files: a folder of the network that was compiled last.
_files = ExitStack()
atexit.register(_files.close)


def compile_network(network: nn.Module, hardware: HardwareConfig, world_size: int = 1) -> None:
    """Let a network compile itself in place, for each shape that it meets, as ``hardware.compile`` says.

    What was compiled before, here or by an earlier process, is not used: the first run of a sweep would pay for the
    growth of all others, and a measurement for that of the run which follows it.

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
    inductor_config.compile_threads = min(inductor_config.compile_threads or 1, torch.get_num_threads())
    _forget_everything()
    network.compile(dynamic=False, mode=None if hardware.compile is True else hardware.compile)


def _forget_everything() -> None:
    import torch._dynamo
    import torch._inductor.utils as inductor_utils

    torch._dynamo.reset()
    _files.close()
    # Its older name is the one that all versions know.
    _files.enter_context(inductor_utils.fresh_inductor_cache())


@contextmanager
def shielded_compiling() -> Iterator[None]:
    """Keep signals that ask for a stop from the compiler's processes, which they would kill; this one hears of them.

    A batch system signals every process of a job. What starts within the block inherits that the signals are blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
