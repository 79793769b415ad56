"""The live page behind a proxy, as JupyterHub and Open OnDemand have them: open to it, and closed to all else."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from analysis.cli import main
from tests.analysis.runs import write_run
from tests.analysis.served import Served, browsing, looking, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
PREFIX = "/user/x%40y/proxy/8050/"
NAME = "hub.example.org"


@contextmanager
def proxy(port: int, keeps_prefix: bool) -> Iterator[str]:
    """Pass what is below the prefix on to a port, with the Host header as it came; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if not self.path.startswith(PREFIX):
                self.send_error(404)
                return
            path = self.path if keeps_prefix else f"/{self.path.removeprefix(PREFIX)}"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as behind:
                behind.request(self.command, path, body or None, dict(self.headers))
                found = behind.getresponse()
                content = found.read()
            self.send_response(found.status)
            for name, value in found.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{NAME}:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("proxy") / "sweep"
    for seed in range(2):
        write_run(root, "fixed", seed)
        write_run(root, "growing", seed, epoch_seconds=5, batches=(10, 20))
    return root


@pytest.fixture(scope="module")
def served(sweep: Path) -> Iterator[Served]:
    with serving(sweep, "--prefix", PREFIX, "--host-name", NAME) as served:
        yield served


@pytest.mark.long
@pytest.mark.parametrize("keeps_prefix", [False, True])
def test_a_page_behind_a_proxy_lives(served: Served, keeps_prefix: bool) -> None:
    wrong: list[str] = []
    with (
        proxy(served.port, keeps_prefix) as address,
        # Chromium is told that the name is this machine; the request still names it.
        browsing(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser,
        looking(browser) as page,
    ):
        page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}{PREFIX}{served.token}/")
        expect(page.locator("tr[data-run]")).to_have_count(4)
        expect(page.locator("#batch_size .js-plotly-plot .main-svg").first).to_be_visible()
        with page.expect_response("**/alive") as alive:
            pass
        assert alive.value.url.startswith(f"{address}{PREFIX}{served.token}/")
        page.locator("tr[data-run]").first.click()
        expect(page.locator("tr.log")).to_be_visible()
        # What is asked for while the browser closes fails; of a slow server the page asks in vain whether it lives.
        assert [text for text in wrong if "/alive" not in text] == []


def test_a_proxy_opens_the_page_to_its_own_name_only(served: Served) -> None:
    path = f"/{served.token}/"
    for host in (NAME, NAME.upper(), f"{NAME}:8000", f"127.0.0.1:{served.port}"):
        assert served.ask(path, headers={"Host": host})[0] == 200, host
    for host in ("evil.example", f"{NAME}.evil.example", f"evil-{NAME}", f"x.{NAME}", f"{NAME}:", f"{NAME}:x", ""):
        assert served.ask(path, headers={"Host": host})[0] == 403, host
    for path in (PREFIX, f"{PREFIX}wrong/", "/user/other/proxy/8050/", f"{PREFIX}{served.token[:-1]}/"):
        assert served.ask(path, headers={"Host": NAME})[0] == 403, path
    assert served.ask(f"{PREFIX}{served.token}/", headers={"Host": NAME})[0] == 200


def test_without_a_name_a_proxy_is_refused(sweep: Path) -> None:
    with serving(sweep, "--prefix", PREFIX) as served:
        assert served.ask(f"/{served.token}/", headers={"Host": NAME})[0] == 403
        assert served.ask(f"/{served.token}/", headers={"Host": f"localhost:{served.port}"})[0] == 200


def test_the_address_behind_the_proxy_is_printed(sweep: Path) -> None:
    with serving(sweep, "--prefix", "/node/n1/8050/", "--host-name", NAME) as served:
        assert served.process.stdout is not None
        assert served.process.stdout.readline() == f"https://{NAME}/node/n1/8050/{served.token}/\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prefix", "user/x/"], "--prefix is user/x/; it must be a path that begins and ends with a slash"),
        (["--prefix", "/a/../b/"], "--prefix is /a/../b/; it must be a path that begins and ends with a slash"),
        (["--prefix", "//evil.example/"], "--prefix is //evil.example/; it must be a path"),
        (["--prefix", '/"><script>/'], "--prefix is "),
        (["--host-name", "https://hub"], "--host-name is https://hub; it must be a name such as hub.example.org"),
        (["--host-name", "*"], "--host-name is *; it must be a name such as hub.example.org, without port and scheme."),
    ],
)
def test_wrong_calls_are_a_sentence(
    sweep: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["dashboard", str(sweep), *words]) == 2
    assert capsys.readouterr().err.startswith(sentence)
