"""The live page: what it shows of a sweep that grows, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import no_update
from playwright.sync_api import Browser, Page, expect

import analysis
from analysis.cli import main
from analysis.dashboard_figures import AROUND, CURVES_OF_GROUP, FIGURES, Shown, figure_part
from analysis.dashboard_parts import narrow
from analysis.dashboard_view import MAX_RUNS, PARTS, Choice, view
from analysis.figures.themes import Theme
from analysis.live import Snapshot, Watcher, read_beats, run_rows
from analysis.names import group_labels
from analysis.tables import make_tables
from tests.analysis.runs import write_run
from tests.analysis.served import Served, beat, control, looking, serving, shorten
from tests.support import wait_until

#: One browser at a time, beside the other tests.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with looking(browser) as page:
        yield page


def write_sweep(root: Path) -> Path:
    """Two networks, each with two arms and two seeds; one run failed."""
    for network in ("resnet14", "alexnet"):
        changes = {"network.name": network}
        cell = f"digits-{network}"
        for seed in range(2):
            write_run(root, "fixed", seed, cell=cell, changes=changes)
            write_run(root, "growing", seed, cell=cell, changes=changes, epoch_seconds=5, batches=(10, 20))
    failed = write_run(root, "fixed", 2, cell="digits-alexnet", state="failed", cause="DataError: <b>cut</b>")
    (failed / "log.txt").write_text("".join(f"line {number}\n" for number in range(50)))
    return root


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dashboard") / "sweep"
    (root.parent / "secret.txt").write_text("a secret\n")
    return write_sweep(root)


@pytest.fixture(scope="module")
def served(sweep: Path) -> Iterator[Served]:
    with serving(sweep) as served:
        yield served


def cell(page: Page, run: str, column: str) -> Any:
    return page.locator(f'tr[data-run="{run}"] td[data-column="{column}"]')


def test_a_sweep_grows_fails_and_ends_without_a_reload(tmp_path: Path, page: Page) -> None:
    root = tmp_path / "sweep"
    root.mkdir()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    with serving(root) as served:
        page.goto(served.url)
        expect(page.locator("#empty")).to_contain_text("No run yet.")
        page.evaluate("window.sameVisit = true")

        growing = write_run(root, "growing", 0, accuracies=(0.2, 0.4, 0.6, 0.8), batches=(10, 10, 20, 20))
        shorten(growing, 2)
        beat(growing, 3, 4)
        name = "digits-tiny_cnn/growing/seed_0"
        expect(cell(page, name, "state")).to_have_text("running")
        expect(cell(page, name, "epoch")).to_have_text("2/4")
        expect(cell(page, name, "accuracy, %")).to_have_text("40.00")
        expect(cell(page, name, "batch size")).to_have_text("20")
        expect(cell(page, name, "time left")).to_have_text("45 s")
        expect(page.locator("progress")).to_have_attribute("value", "0.6250")

        shorten(growing, 3, characters=25)
        beat(growing, 4, 4)
        expect(cell(page, name, "epoch")).to_have_text("3/4")
        expect(cell(page, name, "state")).to_have_text("running")
        expect(page.locator("#accuracy_by_epoch .js-plotly-plot")).to_be_visible()
        expect(page.locator(".modebar-btn").first).to_be_attached()
        assert page.get_by_role("button", name="Share").count() == 0

        failing = write_run(root, "fixed", 0, accuracies=(0.5,) * 4, epoch_seconds=20)
        shorten(failing, 1)
        beat(failing, 2, 4, age_seconds=3600)
        expect(cell(page, "digits-tiny_cnn/fixed/seed_0", "state")).to_have_text("lost")
        (failing / "FAILED").write_text("NonFiniteLoss: the loss became nan\n\nTraceback ...\n")
        expect(cell(page, "digits-tiny_cnn/fixed/seed_0", "state")).to_have_text("failed")
        expect(cell(page, "digits-tiny_cnn/fixed/seed_0", "cause")).to_have_text("NonFiniteLoss: the loss became nan")

        (growing / "epochs.whole").replace(growing / "epochs.csv")
        (growing / "DONE").write_text("done\n")
        expect(page.locator("#counts")).to_contain_text("1 of 2 runs done")
        (failing / "config.yaml").write_text("schedule: {")
        expect(page.locator('[data-count="damaged"]')).to_be_visible()
        assert page.evaluate("window.sameVisit")
    assert {url.split("/")[2] for url in asked if not url.startswith(("data:", "blob:"))} == {
        f"127.0.0.1:{served.port}"
    }
    assert errors == []


def test_filters_logs_and_tables(served: Served, page: Page) -> None:
    page.goto(served.url)
    expect(page.locator("tr[data-run]")).to_have_count(9)
    expect(page.locator('[data-table="quality"] tbody tr')).to_have_count(4)
    control(page, "arm").click()
    page.get_by_role("option", name="growing").click()
    page.keyboard.press("Escape")
    expect(page.locator("tr[data-run]")).to_have_count(4)
    expect(page.locator("#counts")).to_contain_text("4 of 4 runs done, 5 more filtered out")
    expect(page.locator('[data-table="quality"] tbody tr')).to_have_count(2)
    expect(page.locator("#batch_size-legend li")).to_have_text(["growing"])
    # Nothing is swept here, and all runs are of one data set.
    expect(page.locator("#filters label")).to_have_text(["network", "arm"])

    page.reload()
    expect(page.locator("tr[data-run]")).to_have_count(4)
    page.goto(served.url)
    failed = page.locator('tr[data-run="digits-alexnet/fixed/seed_2"]')
    failed.click()
    expect(page.locator("tr.log pre").last).to_contain_text("line 49")
    assert page.locator("tr.log pre").last.inner_text().count("line") == 12
    expect(page.locator("tr.log pre").first).to_contain_text("DataError: <b>cut</b>")
    failed.locator("button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr.log")).to_have_count(0)


def test_no_column_of_a_table_is_lost_on_a_narrow_screen(served: Served, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(served.url)
    expect(page.locator('[data-table="target"] tbody tr')).to_have_count(2)
    sizes = page.evaluate(
        "Array.from(document.querySelectorAll('#tables .scroll'), e => [e.scrollWidth, e.clientWidth])"
    )
    assert len(sizes) >= 7
    assert all(content <= box for content, box in sizes)
    page.set_viewport_size({"width": 500, "height": 900})  # too narrow for some: these scroll, and the page does not
    # Plotly makes its figures narrower a moment after the window.
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
    verdict = page.locator('[data-table="target"] tbody td').last
    verdict.scroll_into_view_if_needed()
    expect(verdict).to_be_in_viewport()


def test_a_lost_server_is_said_and_taken_back(sweep: Path, page: Page) -> None:
    with serving(sweep) as served:
        page.goto(served.url)
        expect(page.locator("tr[data-run]").first).to_be_visible()
        expect(page.locator("#lost")).to_be_hidden()
        served.process.send_signal(signal.SIGSTOP)
        expect(page.locator("#lost")).to_be_visible()
        served.process.send_signal(signal.SIGCONT)
        expect(page.locator("#lost")).to_be_hidden()
        served.process.kill()
        expect(page.locator("#lost")).to_contain_text("does not answer")


def test_only_who_has_the_address_sees_anything(served: Served) -> None:
    token = served.token
    right = f"/{token}/"
    assert len(token) >= 32
    assert served.ask(right)[0] == 200
    for path in (
        "/",
        "/x/",
        f"/{token[:-1]}/",
        f"/{token}x/",
        "/assets/dashboard.js",
        "/_dash-layout",
        "//",
        "/%C3%A9/",
    ):
        assert served.ask(path)[0] == 403, path
    assert served.ask("/_dash-update-component", "POST", {})[0] == 403
    for host in ("evil.example", f"evil.example:{served.port}", f"127.0.0.1.evil.example:{served.port}", ""):
        assert served.ask(right, headers={"Host": host})[0] == 403, host
    assert served.ask(right, headers={"Host": f"localhost:{served.port}"})[0] == 200
    with socket.socket() as elsewhere, pytest.raises(ConnectionRefusedError):
        elsewhere.connect(("127.0.0.2", served.port))


def test_nothing_can_be_changed(served: Served, sweep: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    for path in ("", "_dash-layout", "assets/dashboard.js", "alive", "anything"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert served.ask(f"/{served.token}/{path}", method, {})[0] == 405, (method, path)
    assert served.ask(f"/{served.token}/_dash-update-component", "PUT", {})[0] == 405
    # The server does not wait for what it will not read, so only the announcement is sent.
    announced = {"Content-Length": str(2 << 20)}
    assert served.ask(f"/{served.token}/_dash-update-component", "POST", headers=announced)[0] == 413
    assert served.refresh()[0] == 200
    assert {path: path.stat().st_mtime_ns for path in sweep.rglob("*")} == before


def test_no_file_outside_the_folder_can_be_read(served: Served, sweep: Path) -> None:
    outside = sweep.parent / "secret.txt"
    link = sweep / "digits-resnet14" / "fixed" / "seed_0" / "log.txt"
    link.symlink_to(outside)
    try:
        names = [
            "../secret.txt",
            "..",
            str(outside),
            "digits-resnet14/fixed/seed_0",
            "digits-alexnet/../..",
            "\0",
            7,
            {},
        ]
        for name in names:
            status, parts = served.refresh(chosen=name)
            assert status == 200, name
            assert "a secret" not in json.dumps(parts), name
    finally:
        link.unlink()
    for path in ("../secret.txt", "assets/../../cli.py", "assets/%2e%2e/cli.py", "assets//etc/passwd"):
        status, text, _ = served.ask(f"/{served.token}/{path}")
        assert "a secret" not in text
        assert "argparse" not in text
        assert "root:" not in text
        assert status in (200, 308, 403, 404)
    assert "line 49" in json.dumps(served.refresh(chosen="digits-alexnet/fixed/seed_2")[1])


def test_the_address_is_in_no_log(sweep: Path, tmp_path: Path) -> None:
    """Neither printed to a file, nor with the errors that malformed requests lead to."""
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    command = [sys.executable, "-m", "analysis", "dashboard", str(sweep), "--port", "0"]
    with (
        open(out, "wb") as log,
        open(err, "wb") as errors,
        subprocess.Popen(command, stdout=log, stderr=errors) as process,
    ):
        try:
            wait_until(lambda: "Whoever" in out.read_text())
            found = re.search(r"The page's address is in (\S+), which only you can read", out.read_text())
            assert found is not None
            address = Path(found[1])
            assert address.stat().st_mode & 0o077 == 0
            served = Served(address.read_text().strip(), process)  # type: ignore[arg-type]
            assert served.refresh()[0] == 200
            update = f"/{served.token}/_dash-update-component"
            bodies: tuple[Any, ...] = (
                None, 5, [], {}, {"output": "x"}, {"output": "..a.b..", "inputs": 7}, {"inputs": [{}]},
            )  # fmt: skip
            for body in bodies:
                assert served.ask(update, "POST", body)[0] == 400, body
            for path in ("_dash-component-suites/x/y.js", "nothing/here", "%00", "assets/../../etc/passwd"):
                assert served.ask(f"/{served.token}/{path}")[0] in (200, 404), path
            assert "Python" not in served.ask("/")[2]["Server"]
        finally:
            process.kill()
    assert served.token not in out.read_text() + err.read_text()
    assert "Traceback" not in err.read_text()


def test_headers_keep_the_page_and_its_address_to_itself(served: Served) -> None:
    for path in ("", "_dash-layout", "alive", "assets/dashboard.css"):
        headers = served.ask(f"/{served.token}/{path}")[2]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert not re.search(r"https?:|unsafe-eval|\*", headers["Content-Security-Policy"])
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    assert served.ask("/x/")[2]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist; it must be a folder with runs, or one that will hold them."),
        (["{sweep}", "--port", "70000"], "--port is 70000; it must be a number from 0 (any free port) to 65535."),
        (["{sweep}", "--port", "{taken}"], "--port is {taken}; it must be one that is free (Address already in use)"),
    ],
)
def test_wrong_calls_are_a_sentence(
    sweep: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {"sweep": sweep, "taken": taken.getsockname()[1]}
        assert main(["dashboard", *(word.format(**known) for word in words)]) == 2
    assert capsys.readouterr().err.startswith(sentence.format(**known))


def look_when_compared(watcher: Watcher) -> Snapshot:
    while (snapshot := watcher.look()).comparing:
        assert snapshot.comparison_problem is None
        time.sleep(0.01)
    return snapshot


def test_only_what_has_changed_is_sent(sweep: Path) -> None:
    watcher = Watcher(sweep, min_seconds=0.0)
    parts, shown = view(look_when_compared(watcher), Choice(), {})
    assert not any(part is no_update for part in parts.values())
    again, shown = view(watcher.look(), Choice(), shown)
    assert {name for name, part in again.items() if part is not no_update} <= {"read"}
    other, _ = view(watcher.look(), Choice(group="digits-resnet14"), shown)
    assert {name for name, part in other.items() if part is not no_update} - {"read"} == {
        "group",
        *CURVES_OF_GROUP,
        *(f"{name}_{part}" for name in CURVES_OF_GROUP for part in AROUND),
    }


def test_arms_are_compared_again_only_when_a_result_changes(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    watcher = Watcher(tmp_path, min_seconds=0.0)
    first = look_when_compared(watcher)
    living = write_run(tmp_path, "fixed", 7, accuracies=(0.1, 0.2))
    shorten(living, 1)
    beat(living, 2, 2)
    second = look_when_compared(watcher)
    beat(living, 2, 2, age_seconds=500)
    third = watcher.look()
    assert (first.comparison_number, second.comparison_number, third.comparison_number) == (1, 2, 2)
    assert third.data is not None
    assert third.data.runs.state.loc[living.as_posix()] == "lost"


def test_a_narrowed_comparison_keeps_its_numbers(sweep: Path) -> None:
    data = analysis.load(sweep)
    comparison = analysis.compare(data)
    few = narrow(comparison, data, data.select(arm="growing", network="alexnet"))
    assert list(few.quality.final_mean) == [0.9]
    assert list(few.target.reached) == [2]
    assert list(few.cost.device_hours) == [pytest.approx(2 * (10 + 2) / 3600)]
    [pair] = few.speedup.query("quantity == 'total'").value
    assert pair == pytest.approx(2.0)
    assert narrow(comparison, data, data.select(arm="nobody")).quality.empty
    assert make_tables(narrow(comparison, data, data.select(arm="nobody")))[0].name == "unfinished"


def test_what_holds_over_all_cells_is_shown_only_with_all_of_them(sweep: Path) -> None:
    data = analysis.load(sweep)
    comparison = analysis.compare(data)
    # two cells in which all runs of an arm take equal seconds: 20 / 10 in both
    [row] = narrow(comparison, data, data.select(arm="growing")).overall.itertuples()
    assert (row.arm, row.cells, row.speedup) == ("growing", 2, pytest.approx(2.0))
    assert narrow(comparison, data, data.select(arm="fixed")).overall.empty
    assert narrow(comparison, data, data.select(network="alexnet")).overall.empty


def dropdowns(controls: Any) -> list[Any]:
    return [control.children[1] for control in controls]


def test_runs_are_filtered_by_what_is_swept(tmp_path: Path) -> None:
    for decay in (0.1, 0.02, 0):
        for momentum in (0.9, 0.8):
            swept = {"optimizer.weight_decay": decay, "optimizer.momentum": momentum}
            words = "".join(f",{key}={value}" for key, value in swept.items())
            for arm in (f"fixed{words}", f"growing{words}"):
                write_run(tmp_path, arm, 0, baseline=f"fixed{words}", launch={"swept": swept}, changes=swept)
    snapshot = look_when_compared(Watcher(tmp_path, min_seconds=0.0))
    parts, shown = view(snapshot, Choice(), {})
    assert [(dropdown.id["filter"], dropdown.options) for dropdown in dropdowns(parts["filters"])] == [
        ("arm", ["fixed", "growing"]),
        ("optimizer.momentum", ["0.8", "0.9"]),
        ("optimizer.weight_decay", ["0", "0.02", "0.1"]),
    ]
    chosen = {"optimizer.weight_decay": ["0.1", "0"], "optimizer.momentum": ["0.9"], "arm": ["growing"], "other": ["1"]}
    parts, shown = view(snapshot, Choice(chosen), shown)
    assert parts["counts_said"] == "2 of 2 runs done, 10 more filtered out"
    assert [option["label"] for option in parts["group_options"]] == [
        "weight\u00a0decay\u00a0=\u00a00", "weight\u00a0decay\u00a0=\u00a00.1"
    ]  # fmt: skip
    # Who has chosen keeps the list that he has open.
    assert parts["filters"] is no_update
    parts, _ = view(snapshot, Choice(chosen), {})
    assert [dropdown.value for dropdown in dropdowns(parts["filters"])] == [["growing"], ["0.9"], ["0.1", "0"]]


def test_filters_may_leave_nothing(sweep: Path) -> None:
    choice = Choice(filters={"arm": ["nobody"], "network": []}, group="nowhere", run="nobody")
    parts, _ = view(look_when_compared(Watcher(sweep, min_seconds=0.0)), choice, {})
    assert parts["runs_note"] == "No run has what the filters ask for."
    assert parts["group"] is None
    assert parts["tables"] == []
    assert parts["hides_all_else"] is True
    assert parts["batch_size"]["data"] == []
    # What no run has can be taken back.
    assert [dropdown.value for dropdown in dropdowns(parts["filters"])] == [[], ["nobody"]]
    assert [dropdown.options[-1] for dropdown in dropdowns(parts["filters"])] == ["tiny_cnn", "nobody"]


def test_an_arm_has_one_colour_whatever_is_filtered(sweep: Path) -> None:
    shown = Shown(analysis.load(sweep), None, ["growing"], "digits-alexnet")
    colours: dict[Theme, str] = {"light": "#D55E00", "dark": "#FF8A3D"}
    for theme, colour in colours.items():
        for name in ("accuracy_by_epoch", "accuracy_by_seconds", "batch_size", "learning_rate"):
            figure = figure_part(shown, name, theme)
            lines = [trace for trace in figure["data"] if trace.get("legendgroup") == "growing" and trace.get("name")]
            assert {trace["line"]["color"] for trace in lines} == {colour}, name


def test_a_figure_without_data_is_a_sentence(sweep: Path) -> None:
    data = analysis.load(sweep).select(state="failed")
    figure = figure_part(Shown(data, None, ["fixed"], "digits-alexnet"), "time_by_span", "light")
    [sentence] = figure["layout"]["annotations"]
    assert sentence["text"].startswith("No run")
    results = figure_part(Shown(data, None, ["fixed"], "digits-alexnet"), "speedup", "light")
    assert results["layout"]["meta"]["said"] == "Speedup. The arms are not compared yet."


def test_many_runs_are_counted_and_the_failed_ones_listed_first(tmp_path: Path) -> None:
    for seed in range(MAX_RUNS + 5):
        state, cause = ("failed", "DataError: cut") if seed == 150 else ("done", None)
        write_run(tmp_path, "fixed", seed, accuracies=(0.5,), state=state, cause=cause)
    parts, _ = view(Watcher(tmp_path).look(), Choice(), {})
    [_, body] = parts["runs"].children
    heading, first, *others = body.children
    assert len(others) == MAX_RUNS - 1
    assert getattr(heading, "data-group") == "digits-tiny_cnn"
    assert getattr(first, "data-run").endswith("seed_150")
    assert parts["runs_note"][0].startswith("Listed are 200 of 205 runs, failed and unfinished ones first; 5 are not")


def test_damaged_and_empty_runs_are_rows(tmp_path: Path) -> None:
    for number, text in enumerate(("", "[]", "seed: {", "num_epochs: 3\n")):
        run = tmp_path / f"seed_{number}"
        run.mkdir()
        (run / "config.yaml").write_text(text)
    (tmp_path / "seed_3" / "progress.json").write_text('{"time": "now", "epoch": null}')
    snapshot = Watcher(tmp_path).look()
    assert snapshot.data is not None
    rows = run_rows(tmp_path, snapshot.data, snapshot.data.runs, read_beats(snapshot.data.runs))
    assert [row.state for row in rows] == ["damaged", "damaged", "damaged", "lost"]
    parts, _ = view(snapshot, Choice(run="seed_0"), {})
    assert parts["problem"] == ""
    assert parts["hides_content"] is False


def test_a_run_is_watched_by_itself(sweep: Path) -> None:
    run = sweep / "digits-alexnet" / "growing" / "seed_1"
    data = analysis.load(run)
    [row] = run_rows(run, data, data.runs, {})
    assert (row.name, row.epochs, row.num_epochs, row.fraction) == ("seed_1", 2, 2, 1.0)


def test_groups_are_called_by_what_tells_them_apart() -> None:
    assert group_labels(["a-b"]) == {"a-b": "a-b"}
    assert group_labels(["a-b x.y=1 z=0", "a-b x.y=2 z=0"]) == {
        "a-b x.y=1 z=0": "y=1",
        "a-b x.y=2 z=0": "y=2",
    }
    assert group_labels(["a-b x.y=1", "c-b x.y=1"]) == {"a-b x.y=1": "a-b", "c-b x.y=1": "c-b"}
    assert group_labels(["a-b x.y=1", "c-b w.y=2"]) == {
        "a-b x.y=1": "a-b, x.y=1",
        "c-b w.y=2": "c-b, w.y=2",
    }


def test_a_slow_part_waits_for_the_next_request(sweep: Path) -> None:
    snapshot = look_when_compared(Watcher(sweep, min_seconds=0.0))
    shown: dict[str, str] = {}
    found: set[str] = set()
    pauses = []
    for _ in range(100):
        parts, shown = view(snapshot, Choice(), shown, seconds=0.0)
        found |= {name for name, part in parts.items() if part is not no_update}
        pauses += [parts["pause"]] if parts["pause"] is not no_update else []
        if pauses[-1] == 3000:
            break
    assert found == set(PARTS)
    assert pauses == [30, 3000]


def test_the_first_tables_are_asked_for_soon(sweep: Path) -> None:
    snapshot = look_when_compared(Watcher(sweep, min_seconds=0.0))
    asked_again_ms = [
        view(dataclasses.replace(snapshot, **changes), Choice(), {})[0]["pause"]
        for changes in ({"comparing": True, "comparison": None}, {"comparing": True}, {})
    ]
    assert asked_again_ms == [1000, 3000, 3000]


def test_the_runs_come_before_few_figures_at_a_time(sweep: Path) -> None:
    snapshot = look_when_compared(Watcher(sweep, min_seconds=0.0))
    shown: dict[str, str] = {}
    counts = []
    for _ in range(10):
        parts, shown = view(snapshot, Choice(), shown, seconds=600.0)
        counts.append(
            [sum(parts[name] is not no_update for name in names) for names in (["runs"], FIGURES, ["tables"])]
        )
    # A browser draws all of an answer before it shows any.
    assert counts == [[1, 0, 0], [0, 3, 0], [0, 0, 1], [0, 3, 0], [0, 3, 0], [0, 2, 0], *[[0, 0, 0]] * 4]


def test_a_sweep_that_changes_all_the_time_keeps_no_figure_waiting(tmp_path: Path) -> None:
    run = write_run(tmp_path, "growing", 0, accuracies=(0.5,) * 30)
    write_run(tmp_path, "fixed", 0, accuracies=(0.5,) * 30)
    watcher = Watcher(tmp_path, min_seconds=0.0)
    shown: dict[str, str] = {}
    sent = []
    for epoch in range(1, 26):
        shorten(run, epoch)
        beat(run, epoch + 1, 30)
        parts, shown = view(look_when_compared(watcher), Choice(), shown, seconds=0.0)
        assert epoch == 1 or parts["runs"] is not no_update
        sent.append({name for name in FIGURES if parts[name] is not no_update and isinstance(parts[name], dict)})
    # One heavy part an answer: all figures are drawn once, then the nine curves, which change each time, in turn.
    assert set().union(*sent[:13]) == set(FIGURES)
    assert set().union(*sent[-9:]) == set(CURVES_OF_GROUP)


def test_of_the_rows_only_those_that_move_are_sent(tmp_path: Path) -> None:
    for arm in ("fixed", "growing"):
        for seed in range(2):
            run = write_run(tmp_path, arm, seed, accuracies=(0.5,) * 4)
    shorten(run, 1)
    beat(run, 2, 4)
    watcher = Watcher(tmp_path, min_seconds=0.0)
    parts, shown = view(look_when_compared(watcher), Choice(), {})
    [_, body] = parts["runs"].children
    places = [
        place for place, row in enumerate(body.children) if getattr(row, "data-run", "").endswith(f"{arm}/seed_1")
    ]
    shorten(run, 2)
    beat(run, 3, 4)
    parts, shown = view(look_when_compared(watcher), Choice(), shown)
    [change] = parts["runs"].to_plotly_json()["operations"]
    assert change["location"] == ["props", "children", 1, "props", "children", *places]
    assert "2/4" in str(change["params"]["value"])
    # Whoever filters sees its runs at once, as the counts say.
    parts, _ = view(watcher.look(), Choice({"arm": ["fixed"]}), shown, seconds=0.0)
    assert len(parts["runs"].children[1].children) == 1 + 2
