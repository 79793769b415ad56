"""The networks: their sizes, the images they take, their names."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from adabatch.config.compose import compose, option_names
from adabatch.errors import ConfigError
from adabatch.networks import build_network, check_network_name, network_names
from adabatch.networks.registry import torchvision_names
from tests.adabatch.support import not_none

SHAPES = {"32 px RGB": (3, 32), "28 px grey": (1, 28), "8 px grey": (1, 8)}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "alexnet": 2_472_266,
        "vgg11": 9_225_610,
        "vgg11_bn": 9_231_114,
        "vgg16_bn": 14_728_266,
        "vgg19_bn": 20_040_522,
        "resnet20": 272_474,
        "resnet32": 466_906,
        "preresnet20": 272_282,
        "wrn16_4": 2_748_890,
        "wrn28_10": 36_479_194,
        "resnext29_8x64d": 34_426_698,
        "densenet_bc_100_12": 769_162,
        "torchvision.resnet18": 11_181_642,
    }.items(),
)
def test_published_numbers_of_parameters(name, expected):
    assert num_parameters(build_network(name, num_channels=3, num_classes=10, image_size=32)) == expected


def test_alexnet_by_hand():
    convolutions = [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
    by_hand = sum(i * o * k * k + o for i, o, k in convolutions) + 256 * 100 + 100
    assert num_parameters(build_network("alexnet", 3, 100, 32)) == by_hand


@pytest.mark.parametrize(("depth", "convolutions"), [(14, 13), (44, 64), (110, 163)])
def test_resnets_have_bottlenecks_from_depth_44(depth, convolutions):
    # 1 + 2 per basic or 3 per bottleneck block, of which there are 3 * (depth - 2) / 6
    main = [
        layer
        for name, layer in build_network(f"resnet{depth}", 3, 10, 32).named_modules()
        if isinstance(layer, nn.Conv2d) and "shortcut" not in name
    ]
    assert len(main) == convolutions


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", [*network_names(), "torchvision.resnet18"])
def test_one_update(name, shape):
    channels, size = shape
    if name.startswith("torchvision."):
        channels = 3
    torch.manual_seed(0)
    network = build_network(name, channels, 7, size).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images = torch.randn(2, channels, size, size).contiguous(memory_format=torch.channels_last)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    logits = network(images)
    assert logits.shape == (2, 7)
    nn.functional.cross_entropy(logits, torch.tensor([0, 6])).backward()
    optimizer.step()
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
    moved = [not torch.equal(new, old) for new, old in zip(network.parameters(), before, strict=True)]
    assert sum(moved) / len(moved) > 0.9


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet20", "preresnet20", "densenet_bc_100_12", "tiny_cnn"])
def test_feature_maps_stay_channels_last(name):
    network = build_network(name, 3, 10, 32).to(memory_format=torch.channels_last)
    layouts = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, maps: layouts.append(maps.is_contiguous(memory_format=torch.channels_last))
            )
    network(torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    assert layouts
    assert all(layouts)


def test_weights_follow_the_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return [value.clone() for value in build_network("resnet20", 3, 10, 32).state_dict().values()]

    assert all(map(torch.equal, weights(3), weights(3)))
    assert not all(map(torch.equal, weights(3), weights(4)))


def test_vgg_starts_from_he_fan_out():
    torch.manual_seed(0)
    network = build_network("vgg16", 3, 10, 32)
    widest = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
    assert widest.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert not not_none(widest.bias).any()
    classifier = network.classifier
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.slow
def test_every_name_has_an_option_and_composes():
    assert option_names("network") == sorted([*network_names(), "torchvision", "by_path"])
    assert compose(["network=torchvision", "dataset=cifar10"]).network.name == "torchvision.resnet50"
    for name in network_names():
        assert compose([f"network={name}"]).network.name == name


def test_torchvision_names_are_those_of_torchvision():
    from torchvision import models

    assert [f"torchvision.{name}" for name in models.list_models(module=models)] == list(torchvision_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v3_small", "vit_b_32", "shufflenet_v2_x0_5"])
def test_torchvision_models_return_logits(name):
    network = build_network(f"torchvision.{name}", 3, 5, 64).train()
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("resnet_20", ["network.name is resnet_20;", "Did you mean resnet20?"]),
        ("torchvision.resnet51", ["network.name is torchvision.resnet51", "Did you mean torchvision.resnet50?"]),
        ("torchvision.fasterrcnn_resnet50_fpn", ["must be a classification model"]),
        ("Something", ["must be one of alexnet, "]),
    ],
)
def test_unknown_names_are_refused(name, parts):
    for refuse in (check_network_name, lambda name: build_network(name, 3, 10, 32)):
        with pytest.raises(ConfigError) as error:
            refuse(name)
        assert all(part in str(error.value) for part in parts), error.value


@pytest.mark.parametrize(
    ("name", "channels", "size", "part"),
    [
        ("torchvision.alexnet", 3, 8, "cannot take images of dataset.image_size=8 pixels"),
        ("torchvision.vit_b_16", 3, 40, "cannot take images of dataset.image_size=40 pixels"),
    ],
)
def test_images_that_a_model_cannot_take_are_refused(name, channels, size, part):
    with pytest.raises(ConfigError, match=part):
        build_network(name, channels, 10, size)


@pytest.mark.slow
def test_names_and_options_are_known_without_torch():
    program = (
        "import sys, adabatch.networks, adabatch.data\n"
        "adabatch.networks.check_network_name('torchvision.resnet18')\n"
        "assert 'cifar10' in adabatch.data.dataset_names()\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
