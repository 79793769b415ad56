"""Random crops and mirroring: which sample gets what, and what that does to its pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.data.augment import draw_augmentation
from adabatch.data.resident import ResidentSource
from adabatch.data.source import ImageFormat
from tests.adabatch.data.files import CPU, dataset_config
from tests.adabatch.support import not_none

NUM_SAMPLES = 37


def make_source(padding, flip, channels_last=True, augment=True, channels=3, size=6, dtype=torch.float32):
    config = dataset_config(
        "synthetic", num_channels=channels, image_size=size, crop_padding=padding, horizontal_flip=flip
    )
    config.mean, config.std = [0.1 * (c + 1) for c in range(channels)], [0.5 + 0.1 * c for c in range(channels)]
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM_SAMPLES, size, size, channels), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 10, (NUM_SAMPLES,), generator=random)
    source = ResidentSource(images, labels, config, ImageFormat(CPU, channels_last, dtype), 255.0, augment)
    return source, images, labels, config


def naive_sample(image, top, left, is_mirrored, config):
    """Pad, crop, mirror and normalise one image (H, W, C), pixel by pixel; returns (C, H, W)."""
    height, width, channels = image.shape
    padding = config.crop_padding
    result = torch.zeros(channels, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            from_y = y + top - padding
            from_x = (width - 1 - x if is_mirrored else x) + left - padding
            is_inside = 0 <= from_y < height and 0 <= from_x < width
            for c in range(channels):
                pixel = image[from_y, from_x, c].item() if is_inside else 0
                result[c, y, x] = (pixel / 255 - config.mean[c]) / config.std[c]
    return result


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("padding", "flip", "channels"), [(2, True, 3), (1, True, 1), (3, False, 3), (0, True, 1), (0, False, 3)]
)
def test_against_a_naive_reference(padding, flip, channels, channels_last):
    source, images, labels, config = make_source(padding, flip, channels_last, channels=channels)
    drawn = draw_augmentation(NUM_SAMPLES, 5, 2, padding, flip)
    indices = torch.randperm(NUM_SAMPLES)[:20]
    result, result_labels = next(iter(source.iterate(2, 5, [indices])))
    assert torch.equal(result_labels, labels[indices])
    for position, index in enumerate(indices.tolist()):
        is_mirrored = flip and not_none(drawn.is_mirrored)[index].item()
        expected = naive_sample(images[index], drawn.top[index].item(), drawn.left[index].item(), is_mirrored, config)
        torch.testing.assert_close(result[position].double(), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=30)
@given(data=st.data(), epoch=st.integers(1, 5), seed=st.integers(0, 5))
def test_a_sample_is_changed_alike_in_every_split(data, epoch, seed):
    source, *_ = make_source(2, True)
    whole, whole_labels = next(iter(source.iterate(epoch, seed, [torch.arange(NUM_SAMPLES)])))
    order = torch.tensor(data.draw(st.permutations(range(NUM_SAMPLES))))
    cuts = data.draw(st.lists(st.integers(1, NUM_SAMPLES - 1), unique=True, max_size=6).map(sorted))
    batches = order.tensor_split(cuts)
    results = list(source.iterate(epoch, seed, batches))
    assert [len(images) for images, _ in results] == [len(batch) for batch in batches]
    for batch, (images, labels) in zip(batches, results, strict=True):
        assert torch.equal(images, whole[batch])
        assert torch.equal(labels, whole_labels[batch])


def test_large_and_small_batches_come_in_the_order_asked_for():
    source, *_ = make_source(1, True)
    whole, _ = next(iter(source.iterate(1, 0, [torch.arange(NUM_SAMPLES)])))
    batches = [torch.randint(0, NUM_SAMPLES, (size,)) for size in (3, 700, 500, 1, 1500, 20)]
    for batch, (images, _) in zip(batches, source.iterate(1, 0, batches), strict=True):
        assert torch.equal(images, whole[batch])


def test_epochs_and_seeds_change_it():
    source, *_ = make_source(2, True)
    indices = [torch.arange(NUM_SAMPLES)]
    results = [next(iter(source.iterate(*pair, indices)))[0] for pair in ((1, 0), (2, 0), (1, 1))]
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_every_crop_and_side_is_drawn_equally_often():
    drawn = draw_augmentation(50_000, 0, 1, crop_padding=1, horizontal_flip=True)
    for offsets in (drawn.top, drawn.left):
        assert offsets.bincount().tolist() == pytest.approx([50_000 / 3] * 3, rel=0.03)
    assert not_none(drawn.is_mirrored).float().mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("augment", [True, False])
def test_memory_format_and_type(channels_last, augment):
    source, *_ = make_source(1, True, channels_last, augment, dtype=torch.float64)
    images, labels = next(iter(source.iterate(1, 0, [torch.arange(8)])))
    assert images.shape == (8, 3, 6, 6)
    assert images.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert (images.dtype, labels.dtype) == (torch.float64, torch.int64)


def test_test_images_are_never_changed():
    source, images, _, config = make_source(2, True, augment=False)
    results = [next(iter(source.iterate(*pair, [torch.arange(5)])))[0] for pair in ((1, 0), (2, 7))]
    assert torch.equal(*results)
    expected = naive_sample(images[3], config.crop_padding, config.crop_padding, False, config)
    torch.testing.assert_close(results[0][3].double(), expected, atol=2e-6, rtol=1e-5)


def test_no_batches_are_no_work():
    source, *_ = make_source(2, True)
    assert list(source.iterate(1, 0, [])) == []
