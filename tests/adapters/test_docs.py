"""The Python on the adapters' pages runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.snippets import run_snippets

pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize(("page", "package"), [("lightning.md", "lightning"), ("hugging_face.md", "transformers")])
def test_the_page(page: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run_snippets(page)
