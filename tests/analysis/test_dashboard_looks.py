"""What readers see of the live page: on a phone, on a desk, in the dark, on paper, by keyboard and by ear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from analysis.names import pieces
from tests.analysis.contrast import CONTRASTS
from tests.analysis.runs import write_run
from tests.analysis.served import Served, beat, control, looking, serving, shorten

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
LONG = "an_arm_with_a_name_that_says_more_than_any_arm_should_have_to_say"
CAUSE = "NonFiniteLoss: the loss became nan in epoch 2 at update 117, with batch size 256 and learning rate 0.05"
COLUMNS = ("arm", "seed", "state", "progress", "epoch", "batch size", "accuracy, %", "seconds", "time left", "cause")

#: That every figure's words are there, and that plotly has drawn it.
DRAWN = """
() => Array.from(document.querySelectorAll("[role=figure]")).every(
  (e) => e.querySelector(".said-only").innerText && e.querySelector(".js-plotly-plot")?.layout?.meta)
"""

#: Of every figure how wide plotly has drawn it, and what stands beside its marks.
DRAWN_LAYOUTS = """
() => Array.from(document.querySelectorAll(".card:not([hidden]) .js-plotly-plot"), (e) => ({
  width: e._fullLayout.width,
  beside: e._fullLayout.annotations.filter((one) => one.name === "beside").map((one) => one.text),
}))
"""


def write_grid(root: Path) -> Path:
    """The README's own shape: two weight decays, three arms, one of which has a long name; runs in four states."""
    for decay in (0, 0.0005):
        swept = {"optimizer.weight_decay": decay}
        baseline = f"small,optimizer.weight_decay={decay}"
        for arm, batches, seconds in (("small", 10, 10.0), ("growing", (10, 20), 5.0), (LONG, 20, 6.0)):
            for seed in range(2):
                write_run(
                    root,
                    f"{arm},optimizer.weight_decay={decay}",
                    seed,
                    cell="fashion_mnist-resnet14",
                    batches=batches,
                    epoch_seconds=seconds,
                    baseline=baseline,
                    launch={"swept": swept},
                    changes=swept,
                )
    cell = root / "fashion_mnist-resnet14"
    failed = cell / f"{LONG},optimizer.weight_decay=0.0005" / "seed_1"
    shorten(failed, 1)
    (failed / "FAILED").write_text(f"{CAUSE}\n\nTraceback ...\n")
    return root


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grid(tmp_path_factory.mktemp("looks") / "mine")


@pytest.fixture(scope="module")
def served(grid: Path) -> Iterator[Served]:
    with serving(grid) as served:
        yield served


@pytest.fixture
def page(grid: Path, browser: Browser) -> Iterator[Page]:
    running = grid / "fashion_mnist-resnet14" / "growing,optimizer.weight_decay=0" / "seed_1"
    shorten(running, 1)
    beat(running, 2, 2)
    with looking(browser) as page:
        yield page


def visit(page: Page, served: Served, width: int, theme: Any = "light") -> None:
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(served.url)
    expect(page.locator("tr[data-run]")).to_have_count(12)
    expect(page.locator('[data-table="quality"]')).to_be_visible()
    # Figures come one after another, and plotly draws each a moment after its words are there.
    page.wait_for_function(DRAWN)


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1920])
def test_every_column_of_the_runs_is_on_the_page(served: Served, page: Page, width: int, theme: str) -> None:
    visit(page, served, width, theme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.getElementById('runs'))")
    assert page.locator("#runs thead th").all_inner_texts() == list(COLUMNS)
    # No name and no number is wider than its column.
    overflows = page.evaluate(
        "Array.from(document.querySelectorAll('#runs th, #runs td'))"
        ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    )
    assert overflows == []


def test_a_swept_value_is_named_once(served: Served, page: Page) -> None:
    visit(page, served, 1280)
    headings = page.locator("#runs tr.group").all_inner_texts()
    assert [heading.replace("\u00a0", " ") for heading in headings] == [
        "fashion_mnist-resnet14, weight decay = 0",
        "fashion_mnist-resnet14, weight decay = 0.0005",
    ]
    arms = page.locator('#runs td[data-column="arm"]').all_inner_texts()
    # The baseline first, as in the legends.
    assert [arm.replace("\u200b", "") for arm in arms] == 2 * ["small", "small", LONG, LONG, "growing", "growing"]
    page.locator("#group").click()
    options = page.get_by_role("option").all_inner_texts()
    assert [option.replace("\u00a0", " ") for option in options] == ["weight decay = 0", "weight decay = 0.0005"]
    page.keyboard.press("Escape")
    control(page, "arm").click()
    assert page.get_by_role("option").all_inner_texts() == ["small", LONG, "growing"]


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_a_card_for_each_run(served: Served, page: Page, theme: str) -> None:
    visit(page, served, 390, theme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    running = page.locator('tr[data-run="fashion_mnist-resnet14/growing,optimizer.weight_decay=0/seed_1"]')
    running.scroll_into_view_if_needed()
    for column in COLUMNS[:-1]:
        box = running.locator(f'td[data-column="{column}"]').bounding_box()
        assert box is not None, column
        assert box["x"] >= 0, column
        assert box["x"] + box["width"] <= 390, column
    named = page.evaluate(
        "e => Array.from(e.querySelectorAll('td.number'), cell => getComputedStyle(cell, '::before').content)",
        running.element_handle(),
    )
    names = ("seed", "epoch", "batch size", "accuracy", "seconds", "time left")
    assert [name.replace('" "', "") for name in named] == [f'"{name} "' for name in names]
    cause = page.locator(f'tr[data-run$="{LONG},optimizer.weight_decay=0.0005/seed_1"] td[data-column="cause"]')
    cause.scroll_into_view_if_needed()
    expect(cause).to_be_in_viewport()
    expect(cause).to_have_text(CAUSE)
    # The tables are wider than a phone: they scroll, the name of a row stays.
    first = page.locator('[data-table="target"] tbody td.name').first
    first.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('[data-table=\"target\"]').parentElement.scrollLeft = 200")
    box = first.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    # A long name is not broken into letters, nor a sentence into a column of words.
    long_names = page.locator('[data-table="target"] td', has_text=LONG[-20:])
    assert min(long_names.evaluate_all("all => all.map(e => e.clientWidth)")) >= 100
    words = page.locator('[data-table="verdicts"] td').filter(has_text=re.compile("[a-z] [a-z]"))
    assert (
        max(words.evaluate_all("all => all.map(e => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight))")) < 6
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The figures' texts are as in a report on a phone: small names of rows, beside the marks the number alone.
    sizes = page.locator("#speedup .ytick text").evaluate_all("all => all.map(e => getComputedStyle(e).fontSize)")
    assert set(sizes) == {"11px"}
    page.locator("#speedup").scroll_into_view_if_needed()
    expect(page.locator("#speedup .annotation-text").first).to_be_visible()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#speedup .annotation-text')].every(e => !/^[0-9].* /.test(e.textContent))"
    )
    assert any(
        re.fullmatch(r"[0-9.]+x", text) for text in page.locator("#speedup .annotation-text").all_text_contents()
    )


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_texts_have_contrast(served: Served, page: Page, theme: str, width: int) -> None:
    visit(page, served, width, theme)
    page.locator("tr[data-run]").first.click()
    expect(page.locator("tr.log")).to_be_visible()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 200
    assert {text for text, _ in found} >= {"running", "done", "failed", "cause" if width == 1280 else "done"}
    assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []


def test_figures_follow_the_theme_without_a_reload(served: Served, page: Page) -> None:
    visit(page, served, 1280, "light")
    tick = page.locator("#batch_size .xtick text").first
    light = tick.evaluate("e => getComputedStyle(e).fill")
    page.evaluate("window.sameVisit = true")
    page.emulate_media(color_scheme="dark")
    expect(tick).not_to_have_css("fill", light)
    assert page.evaluate("window.sameVisit")


def test_runs_and_filters_need_no_mouse(served: Served, page: Page) -> None:
    visit(page, served, 1280)
    control(page, "arm").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("option").first).to_be_visible()
    chosen = page.get_by_role("option").locator("input:focus")
    for _ in range(100):  # a key that comes before the list has the focus is lost
        page.keyboard.press("ArrowDown")
        if chosen.count():
            break
        page.wait_for_timeout(100)
    expect(chosen).to_have_count(1)
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    expect(control(page, "arm")).to_be_focused()
    expect(page.locator("tr[data-run]")).to_have_count(4)
    button = page.locator("tr[data-run] button").first
    for _ in range(12):
        page.keyboard.press("Tab")
        if button.evaluate("e => e === document.activeElement"):
            break
    expect(button).to_be_focused()
    assert button.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.locator("tr.log")).to_be_visible()


def test_a_swept_value_narrows_runs_and_pictures_and_stands_in_the_address(served: Served, page: Page) -> None:
    visit(page, served, 1280)
    expect(page.locator("#filters label")).to_have_text(["arm", "weight decay"])
    control(page, "weight decay").focus()
    page.keyboard.press("Enter")
    page.get_by_role("option", name="0.0005").locator("input").press("Space")
    page.keyboard.press("Escape")
    heading = "fashion_mnist-resnet14, weight\u00a0decay\u00a0=\u00a00.0005"
    for _ in range(2):
        expect(page.locator("tr[data-run]")).to_have_count(6)
        expect(page.locator("#runs tr.group")).to_have_text([heading])
        expect(control(page, "weight decay")).to_have_text("0.0005")
        # One group is left, so there is none to choose, and no row of a picture tells groups apart.
        expect(page.locator("#groups")).to_be_hidden()
        expect(page.locator("#batch_size-said")).to_contain_text("optimizer.weight_decay=0.0005")
        expect(page.locator("#speedup .ytick")).to_have_count(2)
        assert page.url == f"{served.url}#optimizer.weight_decay=0.0005"
        page.reload()
    control(page, "weight decay").focus()
    page.keyboard.press("Delete")
    expect(page.locator("tr[data-run]")).to_have_count(12)
    assert page.url == served.url


def test_what_is_seen_is_said(served: Served, page: Page) -> None:
    visit(page, served, 1280)
    expect(page.get_by_role("status")).to_have_text("10 of 12 runs done")
    expect(page.get_by_role("row", name="weight decay = 0.0005")).to_have_count(1)
    expect(page.get_by_role("button", name="small, seed 0: log").first).to_be_attached()
    figures = page.get_by_role("figure")
    assert figures.count() >= 6
    for figure in figures.all():
        said = page.locator(f"[id='{figure.get_attribute('aria-labelledby')}']").inner_text()
        assert len(said) > 40, said
    expect(page.get_by_role("figure", name=re.compile("^Batch size"))).to_have_count(1)
    expect(page.get_by_role("figure", name="fashion_mnist-resnet14 optimizer.weight_decay=0")).to_have_count(8)
    expect(page.get_by_role("group", name="curves of").locator("#group")).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"


def test_nothing_moves_for_those_who_ask(served: Served, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    visit(page, served, 1280)
    moving = page.evaluate(
        "Array.from(document.querySelectorAll('*')).filter(e => ['', '::before', '::-webkit-progress-value']"
        ".some(p => getComputedStyle(e, p || null).transitionDuration.split(', ').some(s => parseFloat(s) > 0)"
        " || getComputedStyle(e, p || null).animationName !== 'none')).length"
    )
    assert moving == 0


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_all_runs_stand_and_no_controls(served: Served, page: Page, theme: Any) -> None:
    visit(page, served, 1280, theme)
    page.emulate_media(media="print", color_scheme=theme)
    expect(page.locator(".filters").first).to_be_hidden()
    assert page.evaluate("(e => e.scrollHeight <= e.clientHeight)(document.getElementById('runs'))")
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("h1").evaluate("e => getComputedStyle(e).color") == "rgb(31, 41, 51)"
    page.emulate_media(media="screen")
    page.wait_for_function(f"() => new Set(({DRAWN_LAYOUTS.strip()})().map((one) => one.width)).size === 1")
    before = page.evaluate(DRAWN_LAYOUTS)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    printed = page.evaluate(DRAWN_LAYOUTS)
    assert {one["width"] for one in printed} == {330}
    texts = [text for one in printed for text in one["beside"]]
    assert texts  # beside its mark is only the number
    assert [text for text in texts if re.match("[-+0-9].* ", text)] == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(DRAWN_LAYOUTS) == before


def test_the_page_asks_for_little_and_for_nothing_in_vain(served: Served, page: Page) -> None:
    sizes: dict[str, int] = {}
    wrong: list[str] = []
    page.on("response", lambda answer: sizes.update({answer.url: int(answer.headers.get("content-length") or 0)}))
    page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    visit(page, served, 1280)
    with page.expect_response("**/alive"):
        pass
    page.emulate_media(color_scheme="dark")
    with page.expect_response("**/alive"):
        pass
    # The page gives a server four seconds to say that it lives, and a busy one may need more.
    assert [text for text in wrong if "/alive" not in text] == []
    assert not any("plotly.min.js" in url for url in sizes)
    assert sum(size for url, size in sizes.items() if ".js" in url) < 3_200_000


def test_curves_go_on_within_an_epoch(served: Served, page: Page, grid: Path) -> None:
    visit(page, served, 1280)
    run = "fashion_mnist-resnet14/growing,optimizer.weight_decay=0/seed_1"
    last_x = "document.querySelector('#batch_size .js-plotly-plot')._fullData.find(t => t.name === 'running now')?.x"
    assert page.evaluate(last_x) == [1, 1.5, None]
    seconds = page.locator(f'tr[data-run="{run}"] td[data-column="seconds"]')
    # One epoch of 5 s and half of another at the same pace.
    expect(seconds).to_have_text("7.5")
    expect(page.locator("#left")).to_have_text("about 15 s left (by the pace so far)")
    assert page.locator(".bar [data-part]").evaluate_all("all => all.map(e => e.dataset.part)") == [
        "done", "running", "failed",
    ]  # fmt: skip


def test_numbers_and_names_are_broken_between_words_only() -> None:
    assert pieces("faster (1.03x), 1,000 seeds") == ["faster (1.03x), 1,000 seeds"]
    assert pieces("fixed_at,optimizer.weight_decay=0.1") == [
        "fixed_", "at,", "optimizer.", "weight_", "decay=", "0.1"
    ]  # fmt: skip
    assert pieces("momentum=1,decay=2") == ["momentum=", "1,", "decay=", "2"]
