"""An optimizer's step in the form that a CUDA graph can hold: what changes between steps are tensors on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: Their fused kernels read the learning rate from a tensor, and keep the number of steps in one.
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


class GraphStep:
    """The step of an optimizer, and the resetting of the gradients after it.

    Args:
        optimizer: with gradients that stay where they are from `start` on.
        device: of the parameters.

    Attributes:
        is_recordable: whether a graph can hold the step; otherwise it is made without one. The fused kernels read the
            learning rate as float32, which is too coarse for float64.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.is_recordable = (
            type(optimizer) in _FUSED
            and all(group.get("fused") and not group.get("dampening") for group in optimizer.param_groups)
            and all(parameter.dtype is torch.float32 for parameter in parameters)
        )
        self._learning_rate = torch.zeros((), device=device)
        self._value = 0.0
        self.attach()

    def attach(self) -> None:
        """Make the optimizer read the learning rate from the tensor; again after its state was loaded."""
        if self.is_recordable:
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate

    @contextmanager
    def being_recorded(self) -> Iterator[None]:
        """Tell the optimizer that the steps in the block are recorded; elsewhere it would warn that they are not."""
        groups = [group for group in self._optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = self._learning_rate.is_cuda
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False

    def plain(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state of the optimizer with the learning rate as a number; it loads with and without graphs."""
        return {**state, "param_groups": [{**group, "lr": self._value} for group in state["param_groups"]]}

    def release(self) -> None:
        """Make the optimizer an ordinary one again."""
        self.is_recordable = False
        for group in self._optimizer.param_groups:
            group["lr"] = self._value

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next step, without waiting for the device."""
        if not self.is_recordable:
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
        elif learning_rate != self._value:
            self._learning_rate.fill_(learning_rate)
        self._value = learning_rate

    def start(self) -> None:
        """Create the optimizer's state, if there is none, as it is before the first step.

        Torch creates it in the first step, which a graph of the later ones could not hold. A step with gradients and
        learning rate 0 changes no parameter, and then momenta of 0 are what the first step would start from.
        """
        if not self.is_recordable or self._optimizer.state:
            return
        kept, value = self._learning_rate.clone(), self._value
        self._learning_rate.zero_()
        self._optimizer.step()
        self._learning_rate.copy_(kept)
        self._value = value
        for state in self._optimizer.state.values():
            for tensor in state.values():
                if isinstance(tensor, torch.Tensor):
                    tensor.zero_()

    def run(self) -> None:
        """Make the step, and set the gradients to zero."""
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=False)
