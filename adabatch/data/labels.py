"""The range of labels, and the sentence about one outside of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from adabatch.errors import DataError


def require_labels(labels: Any, num_classes: int | None, place: str) -> None:
    """Raise DataError unless every label is in the range of the classes; the sentence names the first wrong one.

    Args:
        labels: whole numbers of shape (N,), a list, an array or a tensor.
        num_classes: None if it is unknown; then labels must only not be negative.
        place: the file, or the data set, that holds them.
    """
    values = np.asarray(labels)
    is_wrong = values < 0 if num_classes is None else (values < 0) | (values >= num_classes)
    if is_wrong.any():
        index = int(is_wrong.argmax())
        raise DataError(f"{place}: item {index} has the label {values[index]}; {allowed_labels(num_classes)}.")


def allowed_labels(num_classes: int | None) -> str:
    """Return what labels must be, as the end of a sentence."""
    return "labels must be 0 or more" if num_classes is None else f"labels must be 0 to {num_classes - 1}"
