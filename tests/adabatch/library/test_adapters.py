"""An adapter whose project is not installed says what is missing; what it does is tested in ``tests/adapters``."""

from __future__ import annotations

import importlib
import sys

import pytest

from adabatch import ConfigError


@pytest.mark.parametrize(
    ("adapter", "package", "sentence"),
    [
        ("lightning", "lightning", "needs the package lightning: pip install lightning"),
        ("hugging_face", "transformers", "pip install transformers accelerate"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, adapter: str, package: str, sentence: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"adabatch.adapters.{adapter}", raising=False)
    with pytest.raises(ConfigError, match=sentence):
        importlib.import_module(f"adabatch.adapters.{adapter}")
