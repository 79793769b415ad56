"""torch's optimizers without the import of its compiler, which takes about as long as the import of torch."""

from __future__ import annotations

import inspect

import torch


class _WithoutCompiler(torch.optim.Optimizer):
    """An optimizer whose methods do not load ``torch._dynamo``.

    torch wraps them for callers that compile whole optimizer steps, and the wrappers load the compiler at the first
    call. Here networks are compiled and steps never are, so the methods are what torch has wrapped.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class SGD(_WithoutCompiler, torch.optim.SGD):
    """`torch.optim.SGD`, with steps that no gradient flows through."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class AdamW(_WithoutCompiler, torch.optim.AdamW):
    """`torch.optim.AdamW`, with steps that no gradient flows through."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
