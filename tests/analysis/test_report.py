"""The page that holds all: what it carries, how large it is, and that a browser draws it without a network."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

import analysis
from analysis import report
from analysis.cli import main
from analysis.curves import CURVES
from tests.analysis.runs import write_run
from tests.analysis.served import looking


class Page(HTMLParser):
    """What a page loads from elsewhere, its tables' cells, its downloads, and what it holds compressed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text()
        self.sources: list[str] = []
        self.downloads: dict[str, str] = {}
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_cell = tag in ("td", "th")
        if tag == "a" and "download" in values:
            self.downloads[str(values["download"])] = str(values["href"])
        elif "src" in values or (tag == "link" and "href" in values):
            self.sources.append(str(values.get("src") or values.get("href")))

    def handle_data(self, data: str) -> None:
        if self._in_cell and data.strip():
            self.cells.append(data.strip())

    def frame(self, name: str) -> pd.DataFrame:
        content = base64.b64decode(self.downloads[name].removeprefix("data:application/gzip;base64,"))
        return pd.read_csv(io.BytesIO(gzip.decompress(content)))

    def packed(self, name: str) -> str:
        match = re.search(rf'<script type="application/gzip" id="{name}">([^<]*)</script>', self.text)
        assert match is not None
        return gzip.decompress(base64.b64decode(match.group(1))).decode()

    @property
    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(self.packed("figures"))
        return figures


def write_sweep(root: Path, seeds: int = 2, epochs: int = 2) -> Path:
    for seed in range(seeds):
        accuracies = [0.9 - 0.4 / (1 + epoch) + 0.001 * seed for epoch in range(epochs)]
        write_run(root, "fixed", seed, accuracies=accuracies, epoch_seconds=10 + seed / 7)
        write_run(root, "adaptive", seed, accuracies=accuracies, epoch_seconds=5 + seed / 7)
    return root


def write_report(root: Path, output: Path, *words: str) -> Page:
    assert main(["report", str(root), "-o", str(output), *words]) == 0
    return Page(output)


def test_the_report_is_one_page_that_carries_its_data(tmp_path: Path) -> None:
    root = write_sweep(tmp_path / "sweep")
    write_run(root, "fixed", 5, state="failed", cause="DataError: <b>truncated</b>")
    page = write_report(root, tmp_path / "new" / "report.html", "--title", "A & B")
    assert page.sources == []
    assert "<title>A &amp; B</title>" in page.text
    assert "<b>truncated</b>" not in page.text
    # 20 s against 10 s, and 20 2/7 against 10 2/7
    assert any(cell.startswith("1.99x") for cell in page.cells)
    data = analysis.load(root)
    pd.testing.assert_frame_equal(
        page.frame("epochs.csv.gz"), pd.read_csv(io.StringIO(data.epochs.to_csv(index=False)))
    )
    assert list(page.frame("epochs.csv.gz").elapsed_seconds) == list(data.epochs.elapsed_seconds)
    assert len(page.frame("runs.csv.gz")) == 5
    assert "value" in page.frame("numbers.csv.gz")
    assert "Plotly" in page.packed("plotly-code")
    assert {f"figure-1-{name}" for name in CURVES} <= page.figures.keys()
    assert all(f'id="{name}"' in page.text for name in page.figures)


def test_epochs_that_are_too_many_are_left_out_and_the_page_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_sweep(tmp_path / "sweep")
    monkeypatch.setattr(report, "MOST_EPOCHS_CHARACTERS", 400)
    page = write_report(root, tmp_path / "report.html")
    assert page.downloads.keys() == {"numbers.csv.gz", "runs.csv.gz"}
    text = re.sub(r"\s+", " ", page.text)
    assert "The 8 rows of the epochs are not in this page: compressed they are more than the 0.0004 MB" in text
    assert "analysis.load('DIR').epochs.to_csv('epochs.csv', index=False)" in text


def num_points(page: Page) -> int:
    curves = [figure for name, figure in page.figures.items() if name.removeprefix("figure-1-") in CURVES]
    return sum(len(trace["x"]) for figure in curves for trace in figure["data"])


def test_figures_do_not_grow_with_the_number_of_runs_or_epochs(tmp_path: Path) -> None:
    few, many, long = (
        write_report(write_sweep(tmp_path / name, seeds, epochs), tmp_path / f"{name}.html")
        for name, seeds, epochs in (("few", 3, 250), ("many", 12, 250), ("long", 3, 750))
    )
    assert num_points(few) == num_points(many) == num_points(long)
    # six and 24 runs: only their points of accuracy against time are more
    assert len(many.packed("figures")) < 1.1 * len(few.packed("figures"))
    assert len(long.packed("figures")) < 1.1 * len(few.packed("figures"))
    # plotly's code is 4.8 MB, and 2.0 MB as it is in the page; the figures of one group are 0.1 MB
    assert len(few.text) - len("".join(few.downloads.values())) < 2_500_000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    write_report(write_sweep(root / "sweep", seeds=3), root / "report.html")
    return root / "report.html"


@pytest.fixture
def browser_page() -> Iterator[BrowserPage]:
    with looking() as page:
        page.set_default_timeout(60_000)
        yield page


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_browser_draws_every_figure_without_an_error_or_a_request(written: Path, browser_page: BrowserPage) -> None:
    asked: list[str] = []
    said: list[str] = []
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.on("console", lambda message: said.append(message.text))
    browser_page.on("pageerror", lambda error: said.append(str(error)))
    browser_page.goto(written.as_uri())
    expect(browser_page.locator(".figure.js-plotly-plot .legend")).to_have_count(11, timeout=60_000)
    expect(browser_page.locator("#not-drawn")).to_be_hidden()
    assert browser_page.get_by_text("Mean over n = 3 seeds; band: 95 % bootstrap interval at each epoch").count() == 8
    with browser_page.expect_download() as download:
        browser_page.get_by_text("epochs.csv.gz").click()
    assert download.value.suggested_filename == "epochs.csv.gz"
    assert len(pd.read_csv(download.value.path(), compression="gzip")) == 12
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [written.as_uri()]
    assert said == []


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_browser_that_cannot_unpack_says_so_and_shows_the_tables(written: Path, browser_page: BrowserPage) -> None:
    browser_page.add_init_script("delete window.DecompressionStream")
    browser_page.goto(written.as_uri())
    expect(browser_page.locator("#not-drawn")).to_be_visible()
    expect(browser_page.locator("table.speedup")).to_be_visible()
