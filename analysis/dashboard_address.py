"""Under which addresses the dashboard's page is served, and how its user hears of them."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from adabatch.errors import ConfigError

HOST = "127.0.0.1"
#: The port is free, for tunnels.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost):\d{1,5}")
_PREFIX = re.compile(r"/(?:[\w.~%@:+-]+/)*", re.ASCII)
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z\d](?:[a-z\d-]*[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]*[a-z\d])?)*", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where the page is, and what a request must name to get it.

    Attributes:
        prefix: what a proxy puts before the page's own path; from ``/`` to ``/``.
        host_names: by which, besides this machine's own, a request may ask. By any other name a page from elsewhere
            could reach the server (DNS rebinding).
        token: the first part of the path behind the prefix, which nobody can guess.

    Raises:
        ConfigError: if the prefix is no path or a name is no host's.
    """

    prefix: str = "/"
    host_names: Sequence[str] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix) or ".." in self.prefix.split("/"):
            raise ConfigError(
                f"--prefix is {self.prefix}; it must be a path that begins and ends with a slash, such as "
                "/user/NAME/proxy/8050/."
            )
        for name in self.host_names:
            if not _HOST_NAME.fullmatch(name):
                raise ConfigError(
                    f"--host-name is {name}; it must be a name such as hub.example.org, without port and scheme."
                )

    @property
    def path(self) -> str:
        """The page's path on this server."""
        return f"/{self.token}/"

    @property
    def path_from_outside(self) -> str:
        """The page's path as a browser sees it."""
        return f"{self.prefix}{self.token}/"

    def allows(self, host: str) -> bool:
        """Return whether a request may ask for a host by this name, which may end in a port."""
        name = re.sub(r":\d{1,5}$", "", host).lower()
        return _OWN_HOST.fullmatch(host) is not None or name in {known.lower() for known in self.host_names}

    def lines(self, port: int) -> list[str]:
        """Return the addresses to open: the one on this machine, then those behind a proxy."""
        own = f"http://{HOST}:{port}{self.path}"
        names = [f"https://{name}" for name in self.host_names]
        if self.prefix != "/" and not names:
            names = ["the proxy's address and "]
        return [own, *(f"{name}{self.path_from_outside}" for name in names)]


class WithoutPrefix:
    """An application behind a proxy: some take the prefix off a path before they pass it on, some do not."""

    def __init__(self, application: Any, prefix: str) -> None:
        self._application = application
        self._prefix = unquote(prefix)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(self._prefix):
            environ = {**environ, "PATH_INFO": f"/{path.removeprefix(self._prefix)}"}
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


@contextmanager
def told(lines: Sequence[str]) -> Iterator[None]:
    """Tell the user the page's addresses, which hold the token.

    A file that records what is printed, such as a batch job's log, may be read by others. So where stdout is one, the
    addresses are in a file of the user's own, until the end of the block.
    """
    text = "\n".join(lines)
    if not _is_recorded():
        print(text, flush=True)
        yield
        return
    with tempfile.NamedTemporaryFile("w", prefix="adabatch-dashboard-", encoding="utf-8") as file:  # mode 0600
        file.write(f"{text}\n")
        file.flush()
        print(f"The page's address is in {file.name}, which only you can read.", flush=True)
        yield


def _is_recorded() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False
