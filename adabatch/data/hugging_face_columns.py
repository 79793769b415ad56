"""Which columns of a data set of the package datasets are the input and the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adabatch.errors import ConfigError

#: What the column of labels is called where no column is a ClassLabel.
_LABEL_COLUMNS = ("label", "labels")


def input_columns(path: str, features: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the columns of the input: several only if ``dataset.args.input_column`` is a list.

    Args:
        features: of the training split, by column.
        own: values of ``input_column`` and ``label_column``.

    Raises:
        ConfigError: if a column is missing, or none or several might be meant.
    """
    given = own["input_column"]
    if given is not None:
        return _known(path, features, "input_column", [given] if isinstance(given, str) else list(given))
    images = [name for name, feature in features.items() if is_kind(feature, "Image")]
    found = images or [name for name, feature in features.items() if _is_array(feature)]
    if len(found) != 1:
        raise ConfigError(
            f"dataset.path is {path}; {len(found)} of its columns {', '.join(features)} hold"
            f" {'images' if images else 'images or arrays'}: name the input by dataset.args.input_column, one column"
            " or a list of columns of numbers."
        )
    return found


def label_column(path: str, features: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return the column of the labels; see `input_columns`."""
    if own["label_column"] is not None:
        return _known(path, features, "label_column", [own["label_column"]])[0]
    found = [name for name, feature in features.items() if is_kind(feature, "ClassLabel")]
    found = found or [name for name in _LABEL_COLUMNS if name in features]
    if len(found) != 1:
        raise ConfigError(
            f"dataset.path is {path}; {len(found)} of its columns {', '.join(features)} hold classes: name the label by"
            " dataset.args.label_column."
        )
    return found[0]


def _known(path: str, features: Mapping[str, Any], key: str, names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in features:
            raise ConfigError(
                f"dataset.args.{key} is {name}; it must be one of the columns {', '.join(features)} of {path}."
            )
    if not names:
        raise ConfigError(f"dataset.args.{key} is []; it must name a column.")
    return list(names)


def check_columns(path: str, splits: tuple[Any, Any], columns: tuple[list[str], str]) -> None:
    """Raise ConfigError unless both splits have the columns alike, and several inputs are numbers."""
    train, test = splits
    for name in (*columns[0], columns[1]):
        if name not in test.features or str(test.features[name]) != str(train.features[name]):
            raise ConfigError(
                f"dataset.path is {path}; the column {name} is {train.features[name]} of the training split, and"
                f" {test.features.get(name)} of the test split, but must be the same."
            )
    if len(columns[0]) > 1:
        for name in columns[0]:
            if not _is_number(train.features[name]):
                raise ConfigError(
                    f"dataset.args.input_column holds {name}; of several columns each must hold a number, but it is"
                    f" {train.features[name]}."
                )


def string_classes(rows: Any, label: str) -> list[str] | None:
    """Return the names of classes that are given as strings; None for numbers."""
    if getattr(rows.features[label], "dtype", None) not in ("string", "large_string"):
        return None
    return sorted(name for name in rows.unique(label) if name is not None)


def is_kind(feature: Any, kind: str) -> bool:
    """Return whether a column is of a kind, such as Image."""
    return type(feature).__name__ == kind


def _is_array(feature: Any) -> bool:
    """Return whether a column holds arrays, or nested lists of numbers."""
    if type(feature).__name__.startswith("Array"):
        return True
    inner = getattr(feature, "feature", None)
    return inner is not None and (_is_number(inner) or _is_array(inner))


def _is_number(feature: Any) -> bool:
    return is_kind(feature, "Value") and str(feature.dtype).startswith(("int", "uint", "float", "double"))
