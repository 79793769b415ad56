"""A fake built from the client's queries: it answers what wandb's client asks, on loopback.

It shows that our reader copes with the client's protocol (paging, steps, strings for NaN, refusals, retries). It is
no recording of wandb's own servers and proves nothing about how those behave. It dispatches on the operation's name
and refuses, loudly, operations that it does not know.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT = "team", "study"


@dataclass
class FakeRun:
    """One run as the server holds it; ``rows`` are history rows with their ``_step``."""

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    state: str = "finished"
    display_name: str = "a run"
    heartbeat_at: str = "2026-01-02T03:04:05Z"

    @property
    def last_step(self) -> int:
        return max((row["_step"] for row in self.rows), default=-1)

    def node(self, document: str) -> dict[str, Any]:
        """Return the fields that a query names."""
        return {name: value for name, value in self._fields().items() if re.search(rf"\b{name}\b", document)}

    def _fields(self) -> dict[str, Any]:
        return {
            "id": f"storage-{self.name}",
            "projectId": "7",
            "name": self.name,
            "displayName": self.display_name,
            "state": self.state,
            "config": json.dumps({key: {"value": value, "desc": None} for key, value in self.config.items()}),
            "summaryMetrics": json.dumps(self.summary),
            "systemMetrics": "{}",
            "historyKeys": {"lastStep": self.last_step, "keys": {}},
            "historyLineCount": len(self.rows),
            "heartbeatAt": self.heartbeat_at,
            "createdAt": "2026-01-02T03:00:00Z",
            "tags": [],
        }


class FakeWandbServer:
    """Serves the runs of one project.

    Attributes:
        runs: in the order of their creation.
        page_size: the most runs in an answer, whatever was asked for.
        refusals: statuses to answer with, by operation, before anything else is answered to it.
        broken_runs: names of the runs whose history is answered with 400, which the client does not retry.
        requests: how often each operation was asked.
        unknown: operations that were asked and are not known here.
    """

    def __init__(self, runs: list[FakeRun]) -> None:
        self.runs = runs
        self.page_size = 200
        self.refusals: dict[str, list[int]] = {}
        self.broken_runs: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.unknown: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def history_requests(self) -> int:
        """How often rows of any run were asked for."""
        return self.requests["HistoryPage"] + self.requests["RunParquetHistory"]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer_http(self, path: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the body for a POST."""
        if path.startswith("/sdk/otel/"):  # the client counts its own use; that is not ours to judge
            return 200, {}
        asked = json.loads(content)
        return self.answer(asked["query"], asked.get("variables") or {})

    def answer(self, query: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the body for a GraphQL document."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        operation = found.group(1) if found else query
        self.requests[operation] += 1
        if self.refusals.get(operation):
            status = self.refusals[operation].pop(0)
            return status, {"errors": [{"message": f"refused with {status}"}]}
        answers = self._answers()
        if operation not in answers:
            self.unknown.append(operation)
            return 400, {"errors": [{"message": f"the fake does not know the operation {operation}"}]}
        if operation == "HistoryPage" and variables["run"] in self.broken_runs:
            return 400, {"errors": [{"message": "the history is not available"}]}
        return 200, {"data": answers[operation]({**variables, "document": query})}

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "Viewer": lambda _: {"viewer": {"id": "1", "entity": ENTITY, "username": "ann", "teams": {"edges": []}}},
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "Runs": self._page_of_runs,
            "RunHistoryKeys": lambda asked: self._of_run(asked["name"], lambda run: {"historyKeys": _keys(run)}),
            "RunParquetHistory": lambda asked: self._of_run(
                asked["runName"], lambda run: {"parquetHistory": {"parquetUrls": [], "liveData": []}}
            ),
            "HistoryPage": lambda asked: self._of_run(asked["run"], lambda run: {"history": _steps(run, asked)}),
        }

    def _page_of_runs(self, asked: dict[str, Any]) -> dict[str, Any]:
        if (asked["entity"], asked["project"]) != (ENTITY, PROJECT):
            return {"project": None}
        first = int(asked.get("cursor") or 0)
        stop = min(first + min(asked["perPage"], self.page_size), len(self.runs))
        edges = [
            {"node": self.runs[place].node(asked["document"]), "cursor": str(place + 1)} for place in range(first, stop)
        ]
        page = {"endCursor": str(stop), "hasNextPage": stop < len(self.runs)}
        runs = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "7", "runCount": len(self.runs), "readOnly": False, "runs": runs}}

    def _of_run(self, name: str, read: Callable[[FakeRun], dict[str, Any]]) -> dict[str, Any]:
        run = next((run for run in self.runs if run.name == name), None)
        return {"project": {"run": None if run is None else read(run)}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                status, body = server.answer_http(self.path, content)
                answer = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing; the tests read ``requests``."""

        return Handler


def _keys(run: FakeRun) -> dict[str, Any]:
    return {"lastStep": run.last_step, "keys": {}}


def _steps(run: FakeRun, asked: dict[str, Any]) -> list[str]:
    """Return rows as JSON, as many as a page may hold."""
    rows = [row for row in run.rows if asked["minStep"] <= row["_step"] < asked["maxStep"]]
    return [json.dumps(row) for row in rows[: asked["pageSize"]]]
