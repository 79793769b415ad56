"""Takes screenshots of report and dashboard, and makes the pictures of README and docs.

    python docs/make_pictures.py -o FOLDER [DIR ...]          screenshots of the sweeps below DIR
    python docs/make_pictures.py -o FOLDER                    of sweeps that it makes: see tests/analysis/sweeps.py
    python docs/make_pictures.py --docs runs/demo             docs/demo.svg and docs/dashboard.png

Screenshots show pages from top to bottom at the widths of a phone, a laptop and a large screen, light and dark, and as
printed. Needs Chromium (Debian's package chromium).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import analysis

_DOCS = Path(__file__).parent
_WIDTHS = (390, 1280, 1920)
_THEMES = ("light", "dark")
#: The report's pictures draw themselves as soon as they are in view.
_PATIENCE_MS = 1500
#: Whether the dashboard has what its figures are made of, and has drawn it.
_DRAWN = """() => Array.from(document.querySelectorAll("#page [role=figure]")).every(
  (figure) => figure.querySelector(".js-plotly-plot")?.layout?.meta)"""
_TIMEOUT_MS = 120_000
#: Pages are taken in parts of so many pixels: a whole one may be longer than a picture can be.
_HEIGHT = 2400


def main(words: Sequence[str] | None = None) -> None:
    """Make what the command line asks for, and print each file's path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where screenshots go")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="make the pictures of README and docs from this sweep")
    parser.add_argument("--only", choices=("report", "dashboard"), help="screenshots of one of the two")
    parser.add_argument("sweeps", type=Path, nargs="*", metavar="DIR", help="folders of runs")
    options = parser.parse_args(words)
    if options.docs is None and options.output is None:
        parser.error("-o FOLDER or --docs DIR is needed.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if options.docs is not None:
            make_docs(browser, options.docs)
        if options.output is not None:
            with tempfile.TemporaryDirectory() as scratch:
                for name, folder in named(options.sweeps, Path(scratch)).items():
                    take_all(browser, name, folder, options.output, options.only)
        browser.close()


def named(folders: Sequence[Path], scratch: Path) -> dict[str, Path]:
    """Return the folders by name; without any, those of recorded sweeps, which are made."""
    if folders:
        return {folder.name: folder for folder in folders}
    sys.path.insert(0, str(_DOCS.parent))
    from tests.analysis.sweeps import SWEEPS

    return {name: write(scratch / name) for name, write in SWEEPS.items()}


def make_docs(browser: Browser, folder: Path) -> None:
    """Make the pictures that README and docs show."""
    curves = ("batch_size", "accuracy_by_epoch", "accuracy_by_seconds")
    print(analysis.save_figure(analysis.load(folder), _DOCS / "demo.svg", curves))
    with dashboard(folder) as address, tempfile.TemporaryDirectory() as scratch:
        take(browser, address, Path(scratch) / "dashboard.png", 1280, "light")
        shutil.copy(Path(scratch) / "dashboard_1.png", _DOCS / "dashboard.png")


def take_all(browser: Browser, name: str, folder: Path, output: Path, only: str | None = None) -> None:
    """Take the screenshots of one sweep."""
    output.mkdir(parents=True, exist_ok=True)
    if only != "dashboard":
        page = output / f"{name}_report.html"
        analysis.write_report(analysis.compare(analysis.load(folder)), page, name)
        for width, theme in ((width, theme) for width in _WIDTHS for theme in _THEMES):
            take(browser, page.resolve().as_uri(), output / f"{name}_report_{width}_{theme}.png", width, theme)
        print_pdf(browser, page.resolve().as_uri(), output / f"{name}_report_print.pdf")
    if only != "report":
        with dashboard(folder) as address:
            for width, theme in ((width, theme) for width in _WIDTHS for theme in _THEMES):
                take(browser, address, output / f"{name}_dashboard_{width}_{theme}.png", width, theme)
            print_pdf(browser, address, output / f"{name}_dashboard_print.pdf")


@contextmanager
def dashboard(folder: Path) -> Iterator[str]:
    """Serve the dashboard of a folder while the block runs; yields its address."""
    command = [sys.executable, "-m", "analysis", "dashboard", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = next(line for line in server.stdout if "http://" in line)
            yield line[line.index("http://") :].split()[0]
        finally:
            server.terminate()


def take(browser: Browser, address: str, path: Path, width: int, theme: str) -> None:
    """Take pictures of a page from top to bottom, a file for each `_HEIGHT` pixels: NAME_1.png, NAME_2.png, ...

    Args:
        width: of the window, in pixels.
        theme: "light" or "dark", as the reader's system says.
    """
    page = browser.new_page(viewport={"width": width, "height": _HEIGHT})
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    _go(page, address)
    place = number = 0
    while number == 0 or place < page.evaluate("document.documentElement.scrollHeight"):
        page.evaluate(f"window.scrollTo(0, {place})")
        page.wait_for_timeout(_PATIENCE_MS)
        number += 1
        part = path.with_stem(f"{path.stem}_{number}")
        # where less than a window is left below, the window shows some of the part before, too
        above = place - page.evaluate("window.scrollY")
        page.screenshot(
            path=part, timeout=_TIMEOUT_MS, clip={"x": 0, "y": above, "width": width, "height": _HEIGHT - above}
        )
        print(part)
        place += _HEIGHT
    page.close()


def print_pdf(browser: Browser, address: str, path: Path) -> None:
    """Print a page as a reader's browser does, which gives the page's script the time to fit its figures."""
    page = browser.new_page()
    _go(page, address)
    page.locator(".js-plotly-plot").first.wait_for(state="attached")
    page.pdf(path=path, format="A4", margin={"top": "12mm", "right": "12mm", "bottom": "12mm", "left": "12mm"})
    print(path)
    page.close()


def _go(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text("Verdicts").first.wait_for(state="attached", timeout=_TIMEOUT_MS)
    page.wait_for_function(_DRAWN, timeout=_TIMEOUT_MS)


if __name__ == "__main__":
    main()
