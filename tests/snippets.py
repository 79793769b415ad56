"""Runs the Python of a page: all its blocks one after another, as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from adabatch.files import SOURCE_DIR

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_snippets(name: str) -> dict[str, Any]:
    """Run the blocks of a page in ``docs/`` in one namespace, and return it."""
    page: Path = SOURCE_DIR / "docs" / name
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "snippets"}
    found = list(_BLOCK.finditer(text))
    assert found
    for block in found:
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block.group(1), str(page), "exec"), namespace)
    return namespace
