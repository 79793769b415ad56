"""The page that holds all: what it carries, how large it is, and that a browser draws it without a network."""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

import analysis
from analysis import report
from analysis.cli import main
from analysis.figures.curves import CURVES
from tests.analysis.contrast import CONTRASTS
from tests.analysis.runs import write_run
from tests.analysis.served import looking
from tests.analysis.sweeps import grid_of_six, imported, thousand_runs, twelve_arms


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


def write_report(root: Path, output: Path, *words: str, status: int = 0) -> Page:
    assert main(["report", str(root), "-o", str(output), *words]) == status
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
    relative = data.epochs.assign(run=[str(run).removeprefix(f"{tmp_path}/") for run in data.epochs.run])
    pd.testing.assert_frame_equal(page.frame("epochs.csv.gz"), pd.read_csv(io.StringIO(relative.to_csv(index=False))))
    assert list(page.frame("epochs.csv.gz").elapsed_seconds) == list(data.epochs.elapsed_seconds)
    assert len(page.frame("runs.csv.gz")) == 5
    assert "value" in page.frame("numbers.csv.gz")
    assert "Plotly" in page.packed("plotly-code")
    # the runs logged no loss but 0
    assert {f"figure-1-{name}" for name in CURVES if name != "train_loss"} <= page.figures.keys()
    assert page.text.index('id="result"') < page.text.index('id="pictures"') < page.text.index('id="tables"')
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
    # the part of plotly's code that draws such figures is 1.5 MB, and 0.7 MB as it is in the page
    assert len(few.text) - len("".join(few.downloads.values())) < 1_000_000


def test_no_path_of_the_machine_is_in_the_page(tmp_path: Path) -> None:
    root = write_sweep(tmp_path / "sweep")
    write_run(root, "fixed", 5, state="failed", cause="DataError: /home/someone/data/images.npy is damaged")
    write_run(root, "fixed", 6, state="failed", cause=None, changes={"dataset.train_folder": f"{tmp_path}/train"})
    # exit status 1: another folder with images is another experiment
    page = write_report(root.absolute(), tmp_path / "report.html", status=1)
    shown = re.sub(r"<[^>]*>", "", page.text.replace("<wbr>", ""))
    frames = [page.frame(name).to_csv() for name in ("numbers.csv.gz", "runs.csv.gz", "epochs.csv.gz")]
    for text in (shown, page.packed("figures"), *frames):
        assert str(tmp_path) not in text
        assert "/home/someone" not in text
    assert "DataError: .../images.npy is damaged" in shown
    assert "cause None" not in shown
    assert set(page.frame("epochs.csv.gz").run) <= set(page.frame("runs.csv.gz").run)
    assert "sweep/digits-tiny_cnn/fixed/seed_0" in set(page.frame("runs.csv.gz").run)
    assert "sweep/digits-tiny_cnn/fixed/seed_6" in shown


@pytest.mark.soak
def test_a_page_of_a_thousand_runs_is_small(tmp_path: Path) -> None:
    page = write_report(thousand_runs(tmp_path / "sweep"), tmp_path / "report.html")
    assert len(page.text) < 6_000_000


_SWEEPS = {
    "few": lambda root: write_sweep(root, seeds=3),
    "twelve": twelve_arms,
    "grid": grid_of_six,
    "imported": imported,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what writes a page once."""
    root = tmp_path_factory.mktemp("report")

    def write(name: str) -> Path:
        path = root / f"{name}.html"
        if not path.exists():
            # exit status 1: the twelve arms have one that is refused
            assert main(["report", str(_SWEEPS[name](root / name)), "-o", str(path)]) == (name == "twelve")
        return path

    return write


@pytest.fixture
def browser_page(browser: Browser) -> Iterator[BrowserPage]:
    with looking(browser) as page:
        page.set_default_timeout(60_000)
        yield page


def open_and_draw(page: BrowserPage, path: Path) -> list[str]:
    """Open a page and scroll until all its figures are drawn; return what the browser complained about."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    plots = page.locator(".plot")
    for place in range(plots.count()):
        plots.nth(place).scroll_into_view_if_needed()
        expect(plots.nth(place).locator(".main-svg").first).to_be_visible(timeout=60_000)
    return said


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_browser_draws_every_figure_without_an_error_or_a_request(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    asked: list[str] = []
    browser_page.on("request", lambda request: asked.append(request.url))
    said = open_and_draw(browser_page, written("few"))
    expect(browser_page.locator(".plot.js-plotly-plot")).to_have_count(browser_page.locator(".plot").count())
    expect(browser_page.locator("#not-drawn")).to_be_hidden()
    # seven of the nine curves that have numbers are not of steps, and all have bands
    bands = browser_page.get_by_text("Mean over n = 3 seeds; band: 95 % bootstrap interval at each epoch")
    assert bands.count() == 9
    with browser_page.expect_download() as download:
        browser_page.get_by_text("epochs.csv.gz").click()
    assert download.value.suggested_filename == "epochs.csv.gz"
    assert len(pd.read_csv(download.value.path(), compression="gzip")) == 12
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [written("few").as_uri()]
    assert said == []


#: Pairs of texts in a figure that lie on each other, and texts that stick out of it, by the place of the figure.
_OVERLAPS = """() => [...document.querySelectorAll("figure")].flatMap((figure) => {
  const plot = figure.querySelector(".plot"), box = plot.getBoundingClientRect();
  const all = (selector) => [...plot.querySelectorAll(selector)];
  const named = (selector) => all(selector).map((one) => [selector, one.getBoundingClientRect()]);
  // of texts that are turned, the boxes lie on each other and the texts do not
  const isTurned = (one) => /rotate\\((?!0)/.test(one.getAttribute("transform"));
  const ticks = all(".xtick text").filter((one) => !isTurned(one)).map((one) => ["xtick", one.getBoundingClientRect()]);
  const parts = [...named(".xtitle"), ...named(".ytitle"), ...ticks, ...named(".ytick text")];
  const legend = figure.querySelector(".legend"), head = figure.querySelector("figcaption");
  for (const part of [legend, head]) if (part) parts.push([part.className || "head", part.getBoundingClientRect()]);
  const found = [];
  const onEachOther = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1.5;
  parts.forEach(([one, a], place) => {
    for (const [other, b] of parts.slice(place + 1)) {
      if (onEachOther(a, b)) found.push(`${plot.id}: ${one} on ${other}`);
    }
  });
  const texts = named(".annotation text");
  texts.forEach(([, a], place) => {
    for (const [, b] of texts.slice(place + 1)) if (onEachOther(a, b)) found.push(`${plot.id}: a text on a text`);
  });
  for (const [, a] of texts) {
    for (const [other, b] of [...named(".barlayer .point path"), ...named(".ytick text")]) {
      if (onEachOther(a, b)) found.push(`${plot.id}: a text on ${other}`);
    }
  }
  for (const [one, a] of [...parts, ...texts]) {
    if (a.left < box.left - 1 || a.right > box.right + 1) found.push(`${plot.id}: ${one} is cut`);
  }
  return found;
})"""

#: Texts on reference lines: how many there are, and those through which the line is seen, by the place of the figure.
_TEXTS_ON_RULES = """() => {
  // a vertical line has no width
  const isOn = (a, b) => a.left < b.left && b.right < a.right && Math.min(a.bottom, b.bottom) > Math.max(a.top, b.top);
  const covers = (a, b) => a.left <= b.left + 1 && a.right >= b.right - 1 && a.top <= b.top + 1
    && a.bottom >= b.bottom - 1;
  const seen = [];
  let count = 0;
  for (const plot of document.querySelectorAll(".plot")) {
    const paper = plot.querySelector(".main-svg").style.backgroundColor;
    const rules = [...plot.querySelectorAll(".shapelayer path")].map((one) => one.getBoundingClientRect());
    for (const text of plot.querySelectorAll(".annotation")) {
      const box = text.querySelector("text").getBoundingClientRect();
      if (!rules.some((rule) => rule.width < 2 && isOn(box, rule))) continue;
      count += 1;
      const back = text.querySelector("rect.bg"), style = getComputedStyle(back);
      const isOpaque = style.fill === paper && Number(style.fillOpacity) === 1;
      if (!isOpaque || !covers(back.getBoundingClientRect(), box)) seen.push(`${plot.id}: ${text.textContent}`);
    }
  }
  return { count, seen };
}"""

#: How far the first cell of a wide table is from the table's left end when the table is moved.
_MOVED = """() => {
  const part = document.querySelector(".scroll.wide:has(.one-name)");
  part.scrollLeft = 60;
  return part.querySelector("td").getBoundingClientRect().left - part.getBoundingClientRect().left;
}"""

#: The centres of the marks of a figure, in pixels.
_CENTRES = """(place) => [...document.querySelectorAll(`#${place} .scatterlayer .point`)].map((one) => {
  const box = one.getBoundingClientRect();
  return [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
})"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light"), (1920, "dark")])
@pytest.mark.parametrize("name", ["few", "twelve", "grid", "imported"])
def test_nothing_lies_on_anything_and_nothing_is_cut(
    written: Callable[[str], Path], browser_page: BrowserPage, name: str, width: int, theme: Any
) -> None:
    browser_page.set_viewport_size({"width": width, "height": 900})
    browser_page.emulate_media(color_scheme=theme)
    said = open_and_draw(browser_page, written(name))
    assert said == []
    assert browser_page.evaluate(_OVERLAPS) == []
    # the page itself never scrolls sideways
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('th')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert browser_page.evaluate(cut) == 0
    wide = browser_page.locator(".scroll.wide")
    if width >= 1280:
        cells = "[...document.querySelectorAll('th, td')].map((cell) => cell.getBoundingClientRect().right)"
        assert max(browser_page.evaluate(cells)) <= width
        assert wide.count() == 0
    else:
        assert wide.count() > 0
        assert browser_page.locator(".goes-on:visible").count() == wide.count()
    if width < 1280 and name != "grid":  # whose rows have three names
        assert browser_page.locator(".scroll.wide .verdicts").count() == 0
        assert browser_page.evaluate(_MOVED) == 0


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_contrast(written: Callable[[str], Path], browser_page: BrowserPage, theme: Any) -> None:
    browser_page.emulate_media(color_scheme=theme)
    open_and_draw(browser_page, written("grid"))
    found = browser_page.evaluate(CONTRASTS)
    assert {text for text, _ in found} >= {"Verdicts: digits-tiny_", "not reached", "(1.61x)", "over all 6 cells"}
    assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize("name", ["few", "grid"])
def test_headings_go_down_one_level_at_a_time_and_links_lead_to_them(written: Callable[[str], Path], name: str) -> None:
    text = written(name).read_text()
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert max(after - before for before, after in itertools.pairwise(levels)) == 1
    places = re.findall(r' id="([^"]+)"', text)
    assert len(places) == len(set(places))
    links = re.findall(r'<a href="#([^"]+)"', text)
    # the sections; with more than one group, the pictures of each, and of the whole sweep
    assert len(links) == {"few": 4, "grid": 4 + 7}[name]
    assert set(links) <= set(places)


def test_what_all_runs_have_in_common_is_said_once(tmp_path: Path) -> None:
    for seed, sha in enumerate(("a" * 40, "b" * 40)):
        facts = {"git_sha": sha, "git_dirty": seed == 1, "torch": "2.14.1", "device_model": "a processor"}
        write_run(tmp_path / "sweep", "fixed", seed, meta=facts)
    path = analysis.write_report(analysis.compare(analysis.load(tmp_path / "sweep")), tmp_path / "page.html", "x")
    table = path.read_text().partition('<h3 id="runs">')[2].partition("</ul>")[0]
    assert re.findall(r"<th[^>]*>([^<]+)</th>", table) == ["run", "state", "code"]
    assert re.findall(r"<td>([^<]+)</td>", table) == ["done", "aaaaaaaa", "done", "bbbbbbbb+changes"]
    assert "All runs: torch 2.14.1, device a processor." in table


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
@pytest.mark.parametrize("name", ["twelve", "grid"])
def test_reference_lines_end_at_texts(
    written: Callable[[str], Path], browser_page: BrowserPage, name: str, width: int, theme: Any
) -> None:
    browser_page.set_viewport_size({"width": width, "height": 900})
    browser_page.emulate_media(color_scheme=theme)
    open_and_draw(browser_page, written(name))
    found = browser_page.evaluate(_TEXTS_ON_RULES)
    assert found["count"] > 0
    assert found["seen"] == []


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("name", "count", "least"), [("imported", 5, 5.0), ("twelve", 25, 2.0)])
def test_no_arm_is_hidden_in_the_throughput(
    written: Callable[[str], Path], browser_page: BrowserPage, name: str, count: int, least: float, width: int
) -> None:
    browser_page.set_viewport_size({"width": width, "height": 900})
    open_and_draw(browser_page, written(name))
    centres = browser_page.evaluate(_CENTRES, "figure-1-throughput")
    assert len(centres) == count
    assert min(math.dist(one, other) for one, other in itertools.combinations(centres, 2)) >= least


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("name", ["twelve", "grid"])
def test_no_table_or_figure_makes_a_browser_shrink_the_printed_pages(
    written: Callable[[str], Path], browser_page: BrowserPage, name: str
) -> None:
    # A4 without the margins of Chromium is 717 pixels wide, and about a thousand high
    browser_page.set_viewport_size({"width": 717, "height": 1000})
    open_and_draw(browser_page, written(name))
    browser_page.emulate_media(media="print")
    browser_page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 1.02 * 717
    seen = "[...document.querySelectorAll('.plot')].map((one) => Math.round(one.getBoundingClientRect().height))"
    heights = browser_page.evaluate(seen)
    assert not [height for height in heights if 880 < height < 1300]
    browser_page.emulate_media(media="screen")
    browser_page.evaluate("dispatchEvent(new Event('afterprint'))")
    after = browser_page.evaluate(seen)
    assert all(on_screen > on_paper for on_screen, on_paper in zip(after, heights, strict=True))


#: Texts of the ticks of a figure's axis, "x" or "y".
_TICKS = """([place, axis]) =>
  [...document.querySelectorAll(`#${place} .${axis}tick text`)].map((text) => text.textContent)"""


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_who_zooms_into_a_logarithmic_axis_keeps_ticks(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    said = open_and_draw(browser_page, written("few"))
    place = "figure-1-batch_size"
    given = browser_page.evaluate(_TICKS, [place, "y"])
    assert given == ["10"]
    zoom = "([place, range]) => Plotly.relayout(place, {'yaxis.range': range.map(Math.log10)})"
    browser_page.evaluate(zoom, [place, [12, 17]])
    found = [float(text) for text in browser_page.evaluate(_TICKS, [place, "y"])]
    assert len(found) >= 2
    assert all(12 <= tick <= 17 for tick in found)
    browser_page.evaluate("(place) => Plotly.relayout(place, {'yaxis.autorange': true})", place)
    assert browser_page.evaluate(_TICKS, [place, "y"]) == given
    assert said == []


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_phones_speedups_have_a_tick_at_no_difference(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    browser_page.set_viewport_size({"width": 390, "height": 900})
    open_and_draw(browser_page, written("grid"))
    assert "1x" in browser_page.evaluate(_TICKS, ["figure-speedup", "x"])
    # without the scale beside it, a heat map's texts keep their size
    sizes = (
        "[...document.querySelectorAll('#figure-speedup_grid .heatmap-label text')].map((one) => one.style.fontSize)"
    )
    assert browser_page.locator("#figure-speedup_grid .colorbar").count() == 0
    assert set(browser_page.evaluate(sizes)) == {"13px"}


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_phones_texts_keep_the_star_that_a_note_explains(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    texts = (
        "[...document.querySelectorAll('#figure-quality_difference .annotation-text')].map((one) => one.textContent)"
    )
    found = []
    for width in (1280, 390):
        browser_page.set_viewport_size({"width": width, "height": 900})
        open_and_draw(browser_page, written("twelve"))
        found.append([text for text in browser_page.evaluate(texts) if text.endswith("*")])
    wide, narrow = found
    assert wide
    assert narrow == [f"{text.split()[0]}*" for text in wide]


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_phones_speedups_wrap_their_words_and_no_number(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    browser_page.set_viewport_size({"width": 390, "height": 900})
    open_and_draw(browser_page, written("grid"))
    cells = browser_page.evaluate(
        """() => [...document.querySelectorAll("table.speedup td.number")].map((cell) => {
          const lines = document.createRange();
          lines.selectNodeContents(cell);
          const tops = [...lines.getClientRects()].map((one) => Math.round(one.top));
          return [cell.innerText, cell.getBoundingClientRect().width, new Set(tops).size];
        })"""
    )
    marked = [(width, lines) for text, width, lines in cells if "points less" in text]
    assert marked
    assert all(width < 130 and lines > 1 for width, lines in marked)
    assert {lines for text, _, lines in cells if " to " in text} == {1}


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_the_page_follows_its_readers_theme(written: Callable[[str], Path], browser_page: BrowserPage) -> None:
    browser_page.emulate_media(color_scheme="dark")
    open_and_draw(browser_page, written("few"))
    colours = """() => [
      getComputedStyle(document.body).backgroundColor,
      document.querySelector("#figure-1-accuracy_by_epoch .main-svg").style.background,
      ...new Set([...document.querySelectorAll("#figure-1-accuracy_by_epoch .js-line")].map((one) => one.style.stroke)),
    ]"""
    dark = browser_page.evaluate(colours)
    # #15181C; the baseline is nearly white, the other arm a light orange
    assert dark[:2] == ["rgb(21, 24, 28)"] * 2
    assert {"rgb(242, 242, 242)", "rgb(255, 138, 61)"} <= set(dark)
    browser_page.emulate_media(color_scheme="light")
    expect(browser_page.locator("#figure-1-accuracy_by_epoch .main-svg").first).to_have_css(
        "background-color", "rgb(255, 255, 255)"
    )
    assert {"rgb(0, 0, 0)", "rgb(213, 94, 0)"} <= set(browser_page.evaluate(colours))


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_printed_page_is_light_and_holds_every_figure(
    written: Callable[[str], Path], browser_page: BrowserPage, tmp_path: Path
) -> None:
    browser_page.emulate_media(color_scheme="dark")
    browser_page.goto(written("few").as_uri())
    expect(browser_page.locator(".plot.js-plotly-plot").first).to_be_visible(timeout=60_000)
    browser_page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser_page.locator(".plot.js-plotly-plot").count() == browser_page.locator(".plot").count()
    backgrounds = "[...new Set([...document.querySelectorAll('.plot .main-svg')].map((one) => one.style.background))]"
    assert set(browser_page.evaluate(backgrounds)) - {""} == {"rgb(255, 255, 255)"}
    browser_page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_everything_is_reached_by_keyboard_and_has_words(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    open_and_draw(browser_page, written("few"))
    plots = browser_page.locator(".plot")
    for place in range(plots.count()):
        assert len(plots.nth(place).get_attribute("aria-label") or "") > 20
        assert plots.nth(place).get_attribute("tabindex") == "0"
    button = browser_page.locator("#figure-1-batch_size").locator("xpath=..").get_by_role("button", name="adaptive")
    button.focus()
    browser_page.keyboard.press("Enter")
    # hidden in all figures
    pressed = browser_page.get_by_role("button", name="adaptive")
    assert {pressed.nth(place).get_attribute("aria-pressed") for place in range(pressed.count())} == {"false"}
    lines = browser_page.locator("#figure-1-accuracy_by_epoch .js-line")
    strokes = {lines.nth(place).evaluate("one => one.style.stroke") for place in range(lines.count())}
    assert "rgb(213, 94, 0)" not in strokes
    assert "rgb(0, 0, 0)" in strokes


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_browser_that_cannot_unpack_says_so_and_shows_the_tables(
    written: Callable[[str], Path], browser_page: BrowserPage
) -> None:
    browser_page.add_init_script("delete window.DecompressionStream")
    browser_page.goto(written("few").as_uri())
    expect(browser_page.locator("#not-drawn")).to_be_visible()
    expect(browser_page.locator("table.speedup")).to_be_visible()
