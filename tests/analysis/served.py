"""The dashboard as its user starts it, and a browser that looks at it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
#: A browser beside other tests on two cores may take a while for what takes it a second by itself.
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Served:
    """A running dashboard."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return self.url.split("/")[3]

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Send a request whose path is taken as it is; return status, text and headers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())

    def refresh(self, **choice: Any) -> tuple[int, dict[str, Any]]:
        """Ask for the page's content as Dash's own JavaScript does; return the status and the parts by component."""
        status, text, _ = self.ask(f"/{self.token}/_dash-dependencies")
        [callback] = [one for one in json.loads(text) if not one["clientside_function"]]
        assert status == 200
        ids = callback["output"].strip(".").split("...")
        inputs = [{**one, "value": choice.get(one["id"])} for one in callback["inputs"]]
        state = [{**one, "value": {}} for one in callback["state"]]
        outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in ids]
        body = {"output": callback["output"], "outputs": outputs, "inputs": inputs, "state": state}
        status, text, _ = self.ask(f"/{self.token}/_dash-update-component", "POST", body)
        return status, json.loads(text)["response"] if status == 200 else {}


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "analysis", "dashboard", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Served(process.stdout.readline().strip(), process)
        finally:
            process.kill()


@contextmanager
def browsing(*arguments: str) -> Iterator[Browser]:
    """A browser, which is started with some more arguments."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing")
        pytest.skip(f"{CHROMIUM} is missing; it is in the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser) -> Iterator[Page]:
    """A page of somebody who has not used the browser before; it and `expect` wait for `PATIENCE_MS`."""
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield context.new_page()


def control(page: Page, word: str) -> Locator:
    """Return the list to choose from that has a word beside it."""
    return page.get_by_role("group", name=word, exact=True).locator("[aria-haspopup=listbox]")


def beat(run: Path, epoch: int, num_epochs: int, age_seconds: float = 0.0) -> None:
    """Write a heartbeat: half of an epoch is over, after 30 s an epoch."""
    values = {
        "time": time.time() - age_seconds, "epoch": epoch, "num_epochs": num_epochs, "samples_in_epoch": 500,
        "epoch_samples": 1000, "batch_size": 20, "wall_seconds": 30.0 * (epoch - 0.5),
    }  # fmt: skip
    temporary = run / ".progress.tmp"
    temporary.write_text(json.dumps(values))
    temporary.replace(run / "progress.json")


def shorten(run: Path, rows: int, characters: int = 0) -> None:
    """Make a finished run one that lives: some rows, and of the next one some characters."""
    whole = run / "epochs.whole"
    if not whole.exists():
        shutil.copy(run / "epochs.csv", whole)
    lines = whole.read_text().splitlines(keepends=True)
    rest = "".join(lines[rows + 1 :])
    (run / "epochs.csv").write_text("".join(lines[: rows + 1]) + rest[:characters])
    for name in ("DONE", "summary.json"):
        (run / name).unlink(missing_ok=True)
