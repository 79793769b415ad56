"""Serves the live page of a folder of runs: on this machine only, to whoever knows its address, and never writing."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from adabatch.errors import ConfigError
from adabatch.fields import require
from analysis.dashboard_address import HOST, Address, WithoutPrefix, told
from analysis.dashboard_answer import PATIENCE_SECONDS, Made
from analysis.dashboard_view import PARTS, Choice, layout, view
from analysis.figures.themes import THEMES, Theme
from analysis.live import Watcher

_log = logging.getLogger(__name__)

DEFAULT_PORT = 8050
_BACKLOG = 128
_LOOK_AGAIN_SECONDS = 1.0
_MAX_REQUEST_BYTES = 1 << 20
_UPDATE = "_dash-update-component"
#: Dash's own route; answers OK while the server lives.
_ALIVE = "alive"
#: Where the packages' JavaScript lies: the only content that a browser may keep.
_SUITES = "_dash-component-suites"


def serve(folder: Path, port: int = DEFAULT_PORT, prefix: str = "/", host_names: Sequence[str] = ()) -> None:
    """Print the page's address and serve it until Ctrl-C.

    Args:
        port: 0 for any free one.
        prefix, host_names: of a proxy before the page; see `Address`.

    Raises:
        ConfigError: if the folder does not exist or the port, the prefix or a name cannot be used.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; it must be a folder with runs, or one that will hold them.")
    require(0 <= port <= 65535, "--port", port, "a number from 0 (any free port) to 65535")
    address = Address(prefix, host_names)
    watcher, made = Watcher(folder), Made()
    with _listen(port) as listener:
        app = WithoutPrefix(make_app(watcher, made, address).server, address.prefix)
        server = _make_server(app, listener)
        tunnel = f"ssh -L {server.port}:{HOST}:{server.port} THIS_MACHINE"
        with told(address.lines(server.port)):
            print(f"Whoever has this address can see the page, until Ctrl-C. From elsewhere: {tunnel}", flush=True)
            threading.Thread(target=_look_ahead, args=(watcher, made), name="first look", daemon=True).start()
            server.serve_forever()


def _look_ahead(watcher: Watcher, made: Made) -> None:
    """Compare the arms, then make what the first reader will most likely see."""
    # A reader who is faster makes the figures himself; making them here meanwhile would slow both down.
    while (snapshot := watcher.look()).comparing and snapshot.comparison is None:
        time.sleep(_LOOK_AGAIN_SECONDS)
    for theme in THEMES:
        view(snapshot, Choice(theme=theme), {}, made)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"--port is {port}; it must be one that is free ({error.strerror}), or 0.") from error
    return listener


def _make_server(app: WithoutPrefix, listener: socket.socket) -> BaseWSGIServer:
    return make_server(HOST, 0, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())


class _QuietHandler(WSGIRequestHandler):
    """Answers without a line per request or error: the address with its token belongs in no log."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def version_string(self) -> str:
        """Return what the answers say of the server."""
        return "adabatch"


def make_app(watcher: Watcher, made: Made, address: Address) -> Dash:
    """Return the page of a watched folder behind a token, the first part of every path."""
    title = watcher.folder.resolve().name
    app = Dash(
        name="analysis.dashboard",
        routes_pathname_prefix=address.path,
        requests_pathname_prefix=address.path_from_outside,
        assets_folder=str(Path(__file__).with_name("assets")),
        serve_locally=True,
        health_endpoint=_ALIVE,
        enable_mcp=False,
        add_log_handler=False,
        title=f"{title} · adabatch",
        update_title="",
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    app.layout = layout(title)
    _add_callback(app, watcher, made)
    _guard(app.server, address, _content_policy(app.csp_hashes()))
    return app


def _add_callback(app: Dash, watcher: Watcher, made: Made) -> None:
    # The browser knows the theme and the address with its filters, and says both before it first asks for the page's
    # content; see assets/dashboard.js.
    app.clientside_callback(ClientsideFunction("adabatch", "theme"), Output("theme", "data"), Input("page", "id"))
    app.clientside_callback(
        ClientsideFunction("adabatch", "filters"),
        Output("chosen-filters", "data"),
        Input({"filter": ALL}, "value"),
        State({"filter": ALL}, "id"),
        State("chosen-filters", "data"),
    )

    @app.callback(
        output={"parts": {name: Output(*place) for name, place in PARTS.items()}, "shown": Output("shown", "data")},
        inputs={
            "tick": Input("tick", "n_intervals"),
            "filters": Input("chosen-filters", "data"),
            "group": Input("group", "value"),
            "run": Input("chosen", "data"),
            "theme": Input("theme", "data"),
            "shown": State("shown", "data"),
        },
        # A browser drops an answer once it has asked again, so it must not while it waits.
        running=[(Output("tick", "disabled"), True, False)],
    )
    def refresh(
        tick: object, filters: object, group: object, run: object, theme: object, shown: object
    ) -> dict[str, Any]:
        # What a browser sends is anything at all, until it has become words.
        theme_word: Theme = "dark" if theme == "dark" else "light"
        choice = Choice(_word_lists(filters), _word(group), _word(run), theme_word)
        known = shown if isinstance(shown, dict) else {}
        parts, digests = view(watcher.look(), choice, known, made, PATIENCE_SECONDS)
        return {"parts": parts, "shown": digests}


def _word_lists(value: object) -> dict[str, list[str]]:
    lists = value if isinstance(value, dict) else {}
    return {
        str(key): [word for word in words if isinstance(word, str)]
        for key, words in lists.items()
        if isinstance(words, list)
    }


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _guard(server: Flask, address: Address, policy: str) -> None:
    token = address.token
    server.config["MAX_CONTENT_LENGTH"] = _MAX_REQUEST_BYTES

    @server.before_request
    def refuse() -> None:
        first = request.path.split("/", 2)[1]
        is_ours = hmac.compare_digest(first.encode(errors="replace"), token.encode())
        if not is_ours or not address.allows(request.headers.get("Host", "")):
            abort(403)
        allowed = ("POST",) if request.path == f"/{token}/{_UPDATE}" else ("GET", "HEAD")
        if request.method not in allowed:
            abort(405)

    @server.errorhandler(Exception)
    def refuse_quietly(error: Exception) -> Any:
        # Flask would log the error with the address. What the page itself cannot do, it says in its answer.
        if isinstance(error, HTTPException):
            return error
        is_update = request.path == f"/{token}/{_UPDATE}"
        _log.warning("a request was refused: %s", type(error).__name__)
        return Response("This request is none of the page's.\n", 400 if is_update else 404, mimetype="text/plain")

    @server.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if not request.path.startswith(f"/{token}/{_SUITES}/"):
            response.headers["Cache-Control"] = "no-store"
        return response


def _content_policy(script_hashes: Any) -> str:
    """Return what the page may load: from this server only, and of inline scripts only Dash's own start."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(script_hashes)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
