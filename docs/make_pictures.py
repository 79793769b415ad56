"""Makes the pictures of README and docs from a real sweep: python docs/make_pictures.py runs/demo

Needs Chromium (Debian's package chromium) for the dashboard's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

import analysis

_DOCS = Path(__file__).parent


def main(folder: str) -> None:
    """Draw the figure and take the screenshot."""
    curves = ("batch_size", "accuracy_by_epoch", "accuracy_by_seconds")
    print(analysis.save_figure(analysis.load(folder), _DOCS / "demo.svg", curves))
    command = [sys.executable, "-m", "analysis", "dashboard", folder, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = next(line for line in server.stdout if "http://" in line)
            screenshot(address[address.index("http://") :].split()[0], _DOCS / "dashboard.png")
        finally:
            server.terminate()


def screenshot(address: str, path: Path) -> None:
    """Take a picture of the whole page once its tables are there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.get_by_text("What the speedup is made of").wait_for()
        page.wait_for_timeout(1000)  # the figures draw themselves
        page.screenshot(path=path, full_page=True)
        browser.close()
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
