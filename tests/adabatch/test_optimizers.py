"""The optimizers against torch's own, whose numbers and states they must share."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adabatch import optimizers
from tests.adabatch.support import TINY

CASES = [
    (optimizers.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}),
    (optimizers.AdamW, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 1e-2}),
]


def make(kind: type[torch.optim.Optimizer], settings: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return network, kind(network.parameters(), fused=True, **settings)  # type: ignore[call-arg]


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        network(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def assert_equal_networks(one: nn.Module, other: nn.Module) -> None:
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
        assert first.is_leaf
        assert first.requires_grad


@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES)
def test_steps_are_those_of_torch(ours: Any, theirs: Any, settings: dict[str, Any]) -> None:
    (network, optimizer), (their_network, their_optimizer) = make(ours, settings), make(theirs, settings)
    for one, other in ((network, optimizer), (their_network, their_optimizer)):
        train(one, other, range(5))
    assert_equal_networks(network, their_network)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES)
def test_states_of_torch_are_taken_and_given(ours: Any, theirs: Any, settings: dict[str, Any]) -> None:
    undisturbed, optimizer = make(theirs, settings)
    train(undisturbed, optimizer, range(6))
    network, first = make(theirs, settings)
    train(network, first, range(2))
    for kind, steps in ((ours, range(2, 4)), (theirs, range(4, 6))):
        following = kind(network.parameters(), fused=True, **settings)
        following.load_state_dict(first.state_dict())
        train(network, following, steps)
        first = following
    assert_equal_networks(network, undisturbed)


def test_a_short_run_does_not_load_the_compiler(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "already = 'torch._dynamo' in sys.modules\n"
        "from adabatch.train import main\n"
        "assert main() == 0\n"
        "sys.exit('torch._dynamo' in sys.modules and not already)"
    )
    subprocess.run([sys.executable, "-c", code, *TINY, f"run_dir={tmp_path}/run"], check=True, timeout=120)
