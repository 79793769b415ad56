"""Forest plots in a browser: no text lies on another one, even of twelve arms with long names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from plotly.offline import get_plotlyjs

import analysis
from analysis.figures.registry import build
from analysis.figures.screen import draw
from analysis.figures.source import source_of
from tests.analysis.served import looking
from tests.analysis.sweeps import twelve_arms

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("effects")]  # so that they share a browser
#: Boxes of texts, in pixels: those of rows, of ticks, above the marks, and of the reference lines.
_BOXES = """() => {
  const boxes = selector => [...document.querySelectorAll(selector)].map(text => {
    const box = text.getBoundingClientRect();
    return {text: text.textContent, left: box.left, right: box.right, top: box.top, bottom: box.bottom};
  });
  return {names: boxes('.ytick text'), texts: boxes('.annotation text'), ticks: boxes('.xtick text'),
          legends: boxes('.xtitle, .ytitle')};
}"""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    return analysis.compare(analysis.load(twelve_arms(tmp_path_factory.mktemp("twelve"))))


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with looking(browser) as page:
        yield page


def overlapping(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the texts of which one lies on another by more than a pixel."""
    return [
        (one["text"], other["text"])
        for one, other in itertools.combinations(boxes, 2)
        if min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1
    ]


@pytest.mark.parametrize("width", [600, 1280])
@pytest.mark.parametrize("name", ["speedup", "speedup_to_target", "quality_difference"])
def test_no_text_of_twelve_arms_lies_on_another(
    page: Page, comparison: analysis.Comparison, tmp_path: Path, name: str, width: int
) -> None:
    figure = draw(build(name, source_of(comparison)), framed=False)
    file = tmp_path / "page.html"
    script = f"<script>{get_plotlyjs()}</script>"
    file.write_text(script + figure.to_html(include_plotlyjs=False, full_html=False), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(file.as_uri())
    page.locator(".ytick text").first.wait_for()
    found = page.evaluate(_BOXES)
    assert len(found["names"]) == 11
    assert overlapping([*found["names"], *found["texts"], *found["ticks"], *found["legends"]]) == []
    everything = [box for boxes in found.values() for box in boxes]
    assert min(box["left"] for box in everything) >= 0
    assert max(box["right"] for box in everything) <= width
