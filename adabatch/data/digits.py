"""The handwritten digits of scikit-learn: 1,797 grey images of 8 x 8 pixels from 0 to 16."""

from __future__ import annotations

import torch

from adabatch.config import DatasetConfig
from adabatch.data.resident import resident_dataset
from adabatch.data.source import Dataset, ImageFormat
from adabatch.data.verify import verify_sizes

_WHITE = 16.0


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Load the digits; every fifth of each class is a test image. See `adabatch.data.load_dataset`."""
    from sklearn.datasets import load_digits  # takes a second

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(-1)
    labels = torch.from_numpy(digits.target)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[labels.argsort(stable=True)[4::5]] = True
    train = images[~is_test], labels[~is_test]
    test = images[is_test], labels[is_test]
    verify_sizes(
        config,
        "scikit-learn's set of digits",
        num_train_samples=len(train[0]),
        num_test_samples=len(test[0]),
        image_size=images.shape[1],
        num_channels=1,
        num_classes=len(digits.target_names),
    )
    return resident_dataset(train, test, config, image_format, _WHITE)
