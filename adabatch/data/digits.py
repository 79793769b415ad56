"""The handwritten digits of scikit-learn: 1,797 grey images of 8 x 8 pixels from 0 to 16."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from adabatch.data.config import DatasetConfig
from adabatch.data.files import verify_sizes
from adabatch.data.resident import resident_dataset
from adabatch.data.source import Dataset, ImageFormat

_WHITE = 16.0


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Load the digits; every fifth of each class is a test image. See `adabatch.data.load_dataset`."""
    table = torch.from_numpy(_read_table())
    images = table[:, :-1].to(torch.uint8).reshape(-1, 8, 8, 1)
    labels = table[:, -1].to(torch.int64)
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
        num_classes=int(labels.max()) + 1,
    )
    return resident_dataset(train, test, config, image_format, _WHITE)


def _read_table() -> np.ndarray:
    """Return scikit-learn's own file, float64 of shape (1797, 65): 64 pixels and the label.

    Importing scikit-learn would take as long as a short run.
    """
    spec = find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    file = Path(next(iter(folders or [""]))) / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        with gzip.open(file, "rt", encoding="ascii") as text:
            return np.loadtxt(text, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack((digits.data, digits.target))
