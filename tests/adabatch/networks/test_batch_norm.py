"""BatchNorm over micro-batches, ghost batches and ranks, in float64 against plain BatchNorm."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from adabatch.errors import ConfigError
from adabatch.networks import build_network
from adabatch.networks.batch_norm import GhostBatchNorm2d
from adabatch.networks.batch_norm_mode import set_batch_norm_mode
from adabatch.networks.sync_batch_norm import SyncBatchNorm2d
from tests.adabatch.support import not_none

SYNC_SPLITS = [(5, 3), (4, 4), (1, 7), (8, 0), (0, 8)]


def plain_norm(channels: int = 3, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=momentum).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels).double() + 2)
        norm.bias.copy_(torch.randn(channels))
        not_none(norm.running_mean).copy_(torch.randn(channels))
        not_none(norm.running_var).copy_(torch.rand(channels) + 1)
    return norm


def copy_of(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    other = nn.BatchNorm2d(norm.num_features, momentum=norm.momentum).double()
    other.load_state_dict(norm.state_dict())
    return other


def ghost_of(norm: nn.BatchNorm2d, ghost_batch_size: int) -> GhostBatchNorm2d:
    ghost = set_batch_norm_mode(norm, "ghost", ghost_batch_size)
    assert isinstance(ghost, GhostBatchNorm2d)
    return ghost


def test_ghost_by_hand():
    norm = ghost_of(nn.BatchNorm2d(1, eps=0.0, momentum=0.5).double(), 2)
    # five samples of two pixels: two chunks of two samples, and one of one
    maps = torch.tensor([[1.0, 3.0], [5.0, 7.0], [10.0, 10.0], [30.0, 30.0], [4.0, 8.0]]).double().view(5, 1, 1, 2)
    output = norm(maps).flatten()
    root5 = 5**0.5
    first = [-3 / root5, -1 / root5, 1 / root5, 3 / root5]  # mean 4, variance 5
    assert_close(output, torch.tensor([*first, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0]).double())
    # means 4, 20, 6 and unbiased variances 20/3, 400/3, 8, of 2, 2 and 1 samples; from 0 and 1 half way there
    assert not_none(norm.running_mean).item() == pytest.approx(0.5 * (2 * 4 + 2 * 20 + 6) / 5)
    assert not_none(norm.running_var).item() == pytest.approx(0.5 + 0.5 * (2 * 20 / 3 + 2 * 400 / 3 + 8) / 5)
    assert not_none(norm.num_batches_tracked).item() == 1


@pytest.mark.slow
@settings(max_examples=25)
@given(
    num_samples=st.integers(1, 13),
    ghost_batch_size=st.integers(2, 6),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_ghost_is_plain_batch_norm_of_each_chunk(num_samples, ghost_batch_size, channels_last, seed):
    torch.manual_seed(seed)
    plain = plain_norm()
    ghost = set_batch_norm_mode(copy_of(plain), "ghost", ghost_batch_size)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = torch.randn(num_samples, 3, 4, 4).double().contiguous(memory_format=layout)
    cotangent = torch.randn_like(maps)
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    output = ghost(ours)
    expected = torch.cat([plain(chunk) for chunk in theirs.split(ghost_batch_size)])
    (output * cotangent).sum().backward()
    (expected * cotangent).sum().backward()
    assert_close(output, expected)
    assert_close(ours.grad, theirs.grad)
    assert_close(ghost.weight.grad, plain.weight.grad)
    assert_close(ghost.bias.grad, plain.bias.grad)
    assert output.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("affine", "tracked", "momentum"), [(False, True, 0.1), (True, False, 0.1), (True, True, None)]
)
def test_ghost_with_torchs_other_settings(affine, tracked, momentum):
    make = {"affine": affine, "track_running_stats": tracked, "momentum": momentum}
    plain = nn.BatchNorm2d(2, **make).double()
    ghost = set_batch_norm_mode(nn.BatchNorm2d(2, **make).double(), "ghost", 4)
    # two equal chunks have the statistics of either
    for _ in range(3):
        chunk = torch.randn(4, 2, 3, 3).double()
        assert_close(ghost(torch.cat([chunk, chunk]))[:4], plain(chunk))
    assert_close(ghost.state_dict(), plain.state_dict())
    assert_close(ghost.eval()(chunk), plain.eval()(chunk))


def test_ghost_of_single_values_is_the_bias():
    norm = ghost_of(plain_norm(), 2)
    output = norm(torch.randn(3, 3, 1, 1).double())
    assert_close(output[2].flatten(), norm.bias.detach())
    assert torch.isfinite(not_none(norm.running_var)).all()


def test_half_precision_is_normalised_in_single():
    norm = set_batch_norm_mode(nn.BatchNorm2d(2), "ghost", 4)
    maps = (torch.randn(8, 2, 16, 16) + 100).bfloat16()
    output = norm(maps)
    assert output.dtype == torch.bfloat16
    expected = nn.functional.batch_norm(maps[:4].double(), None, None, training=True)
    assert_close(output[:4].double(), expected, atol=0.02, rtol=0.01)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The cases, and what each of two processes made of its part of them."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.manual_seed(1)
    norms, networks = [], []
    for split in SYNC_SPLITS:
        for momentum in (0.1, None):
            norms.append(
                {
                    "split": split,
                    "momentum": momentum,
                    "state": plain_norm().state_dict(),
                    # far from zero, where a naive mean of squares would lose its digits
                    "maps": torch.randn(8, 3, 4, 5).double() + 1000,
                    "cotangent": torch.randn(8, 3, 4, 5).double(),
                }
            )
        networks.append(
            {"split": split, "images": torch.randn(8, 1, 8, 8).double(), "labels": torch.randint(0, 4, (8,))}
        )
    torch.save({"norms": norms, "networks": networks}, folder / "cases.pt")
    script = Path(__file__).with_name("sync_rank.py")
    processes = [subprocess.Popen([sys.executable, str(script), str(rank), str(folder)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return norms, networks, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.xdist_group("two ranks")
def test_sync_over_two_ranks_is_batch_norm_of_the_whole_batch(two_ranks):
    cases, _, ranks = two_ranks
    for number, case in enumerate(cases):
        results = [rank["norms"][number] for rank in ranks]
        plain = nn.BatchNorm2d(3, momentum=case["momentum"]).double()
        plain.load_state_dict(case["state"])
        maps = case["maps"].clone().requires_grad_()
        plain(maps.detach() * 2)
        output = plain(maps)
        (output * case["cotangent"]).sum().backward()
        assert_close(torch.cat([result["output"] for result in results]), output.detach(), atol=1e-8, rtol=1e-8)
        assert_close(torch.cat([result["maps_gradient"] for result in results]), maps.grad, atol=1e-8, rtol=1e-8)
        for position, parameter in enumerate(plain.parameters()):
            summed = sum(result["gradients"][position] for result in results)
            assert_close(summed, parameter.grad, atol=1e-8, rtol=1e-8)
        for result in results:
            assert_close(result["state"], plain.state_dict(), atol=1e-8, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.xdist_group("two ranks")
def test_sync_network_over_two_ranks_has_the_gradient_of_the_whole_batch(two_ranks):
    _, cases, ranks = two_ranks
    for number, case in enumerate(cases):
        torch.manual_seed(0)
        network = build_network("tiny_cnn", 1, 4, 8).double()
        nn.functional.cross_entropy(network(case["images"]), case["labels"], reduction="sum").backward()
        for position, parameter in enumerate(network.parameters()):
            assert_close(sum(rank["networks"][number][position] for rank in ranks), parameter.grad)


def test_sync_of_one_rank_is_plain_batch_norm():
    plain = plain_norm()
    sync = set_batch_norm_mode(copy_of(plain), "sync", 32)
    maps = torch.randn(6, 3, 4, 4).double()
    assert torch.equal(sync(maps), plain(maps))
    assert_close(sync.state_dict(), plain.state_dict(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("mode", "kind"), [("micro", nn.BatchNorm2d), ("ghost", GhostBatchNorm2d), ("sync", SyncBatchNorm2d)]
)
def test_modes_replace_every_norm_and_keep_the_names(mode, kind):
    for name in ("resnet20", "preresnet20", "torchvision.mobilenet_v2"):
        torch.manual_seed(0)
        network = build_network(name, 3, 10, 32)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        settings_before = [(n.eps, n.momentum) for n in network.modules() if isinstance(n, nn.BatchNorm2d)]
        assert set_batch_norm_mode(network, mode, 16) is network
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {type(norm) for norm in norms} == {kind}
        assert [(norm.eps, norm.momentum) for norm in norms] == settings_before
        assert list(before) == list(network.state_dict())
        assert_close(network.state_dict(), before, atol=0, rtol=0)


@pytest.mark.parametrize("mode", ["ghost", "sync"])
def test_modes_agree_in_evaluation(mode):
    torch.manual_seed(0)
    network = build_network("resnet14", 3, 10, 32).eval()
    images = torch.randn(5, 3, 32, 32)
    expected = network(images)
    set_batch_norm_mode(network, mode, 2)
    assert torch.equal(network(images), expected)


@pytest.mark.slow
def test_ghost_compiles():
    network = set_batch_norm_mode(build_network("tiny_cnn", 1, 3, 8), "ghost", 4)
    images = torch.randn(10, 1, 8, 8)
    expected = network(images)
    assert_close(torch.compile(network, dynamic=False, backend="aot_eager")(images), expected)


def test_wrong_modes_are_refused():
    with pytest.raises(ConfigError, match="batch_norm is group; it must be one of micro, ghost, sync"):
        set_batch_norm_mode(nn.Identity(), "group", 32)
    with pytest.raises(ConfigError, match="ghost_batch_size is 1; it must be at least 2 samples"):
        set_batch_norm_mode(nn.Identity(), "ghost", 1)
