"""The live page of a large sweep: how long until it shows, what a refresh costs, and the server's memory."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.made_up_sweep import write_runs, write_sweep_option
from benchmarks.measure import BenchmarkFailed, spread_text
from benchmarks.tables import Table

if TYPE_CHECKING:
    from playwright.sync_api import Request

_KIBIBYTE = 1024
_MEBIBYTE = 1 << 20
_LAST_TABLE = "What the speedup is made of"
_TIMEOUT_MILLISECONDS = 120_000
_WATCHED_MILLISECONDS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dashboard")
    group.add_argument("--dashboard-runs", type=int, default=1000, metavar="N", help="runs in the sweep that it shows")
    group.add_argument("--dashboard-epochs", type=int, default=100, metavar="N", help="epochs in each of these runs")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the page of a made-up sweep in headless Chromium; each round starts a server."""
    num_runs, num_epochs = (40, 5) if options.quick else (options.dashboard_runs, options.dashboard_epochs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_runs = write_sweep_option(folder / "conf", num_runs, num_epochs)
        sweep = write_runs(folder / "conf", folder / "runs")
        rounds = [_watch(sweep) for _ in range(1 if options.quick else options.repetitions)]
    yield {"num_runs": num_runs, "num_epochs": num_epochs, "rounds": rounds}


def _watch(sweep: Path) -> dict[str, Any]:
    # The other benchmarks run where playwright is not installed.
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise BenchmarkFailed("chromium is not installed; it shows the page.")
    refresh_milliseconds: list[float] = []

    def note(request: Request) -> None:
        if "_dash-update" in request.url:
            refresh_milliseconds.append(request.timing["responseEnd"])

    with _serve(sweep) as (address, server), sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"]).new_page()
        page.set_default_timeout(_TIMEOUT_MILLISECONDS)
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("tr[data-run]")
        first_rows_seconds = time.perf_counter() - began
        page.get_by_text(_LAST_TABLE).first.wait_for()
        tables_seconds = time.perf_counter() - began
        page.on("requestfinished", note)
        page.wait_for_timeout(_WATCHED_MILLISECONDS)
        return {
            "first_rows_seconds": first_rows_seconds,
            "tables_seconds": tables_seconds,
            "refresh_seconds": [milliseconds / 1000 for milliseconds in refresh_milliseconds],
            "peak_bytes": _peak_bytes(server.pid),
        }


@contextmanager
def _serve(sweep: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "analysis", "dashboard", str(sweep), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = (re.search(r"http://\S+", line) for line in server.stdout or ())
            address = next((match.group() for match in found if match), None)
            if address is None:
                raise BenchmarkFailed("the dashboard did not start.")
            yield address, server
        finally:
            server.terminate()


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    match = re.search(r"VmHWM:\s*(\d+) kB", status)
    return _KIBIBYTE * int(match.group(1)) if match else 0


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
    rounds = values["rounds"]
    refreshes = [seconds for one in rounds for seconds in one["refresh_seconds"]]
    row = (
        spread_text([one["first_rows_seconds"] for one in rounds]),
        spread_text([one["tables_seconds"] for one in rounds]),
        spread_text(refreshes) if refreshes else "none",
        format(max(one["peak_bytes"] for one in rounds) / _MEBIBYTE, ".0f"),
    )
    columns = ("until the runs show, s", "until the tables show, s", "a refresh, s", "peak memory, MiB")
    notes = ("In headless Chromium on the same machine; nothing changes between refreshes. Median (smallest-largest).",)
    return [Table(f"Dashboard of {values['num_runs']} runs of {values['num_epochs']} epochs", columns, [row], notes)]
