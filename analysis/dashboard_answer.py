"""Which parts of the page one answer to a browser holds: what has changed, and no more than it can draw soon."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
#: What takes longer to make waits for the next request, which then comes at once: what is there is seen early.
PATIENCE_SECONDS = 0.35
_SOON_SECONDS = 0.03
#: A browser draws all of an answer before it shows any. So much is in one, counted in figures; all runs, or all tables,
#: are as much, so that the runs are seen before anything else is drawn.
MOST_WEIGHT = 3


@dataclass(frozen=True)
class Part:
    """A part of the page: what identifies its content, and how that is made.

    Attributes:
        follow: returns from the content those of other parts that follow from it.
        weight: how much a browser has to draw, from 0 to `MOST_WEIGHT`.
        waits: whether it may still wait for a later answer once it is shown.
        live_key, change: of what moves while the rest stays, what identifies it, and how the change alone is made.
    """

    key: object
    make: Callable[[], object]
    follow: Callable[[Any], dict[str, object]] = lambda _: {}
    weight: int = 0
    waits: bool = True
    live_key: object = None
    change: Callable[[], object] | None = None

    @property
    def digest(self) -> str:
        """What identifies all but what moves."""
        return _digest(self.key)

    @property
    def live_digest(self) -> str:
        """What identifies what moves."""
        return _digest(self.live_key)


def plain(value: object) -> Part:
    """Return a part that is a value as it is."""
    return Part(value, lambda: value)


class Made:
    """What was made of parts, for those who look at the same; of many contents the oldest are forgotten."""

    _MOST = 100

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[tuple[str, str], dict[str, object]] = {}

    def contents(self, name: str, part: Part, found: str) -> dict[str, object]:
        """Return the content of a part, and those that follow from it, by name."""
        with self._lock:
            known = self._contents.get((name, found))
        if known is None:
            content = part.make()
            known = {name: content, **part.follow(content)}
            with self._lock:
                self._contents[name, found] = known
                for old in list(self._contents)[: -self._MOST]:
                    del self._contents[old]
        return known


def _digest(key: object) -> str:
    return hashlib.blake2b(repr(key).encode(errors="replace"), digest_size=8).hexdigest()


def answer(
    parts: Mapping[str, Part],
    shown: Mapping[str, str],
    made: Made,
    seconds: float = math.inf,
    pause: float = REFRESH_SECONDS,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the contents of the parts that an answer holds, and what identifies those of all parts.

    Besides those of ``parts`` and what follows from them there may be two: ``problem`` says which one cannot be made,
    and ``pause`` in how many milliseconds the browser is to ask again.

    Args:
        shown: what identifies what the parts hold now, in the order in which they were sent; one that would hold the
            same again is left out.
        made: keeps what is made.
        seconds: after which the heavy parts that are not made yet wait for the next request; one is made in any case.
        pause: seconds until the next request if nothing waits for it.
    """
    content: dict[str, Any] = {}
    digests = dict(shown)
    until = time.monotonic() + seconds
    weight = 0
    for name, part in _longest_waiting_first(parts, shown):
        found = f"{part.digest} {part.live_digest}"
        before = shown.get(name, "")
        if before == found:
            continue
        more = 0 if _only_moves(part, before) or (before and not part.waits) else part.weight
        if more and weight and (time.monotonic() > until or (seconds < math.inf and weight + more > MOST_WEIGHT)):
            pause = _SOON_SECONDS
            continue
        weight += more
        digests.pop(name, None)
        try:
            content |= _made(name, part, found, before, made)
            digests[name] = found
        except Exception as error:  # a table that cannot be made must not take the other parts with it
            _log.exception("the dashboard's %s cannot be made", name)
            content["problem"], digests["problem"] = f"{name} cannot be shown: {type(error).__name__}: {error}", ""
    if shown.get("pause") != str(pause):
        content["pause"], digests["pause"] = round(1000 * pause), str(pause)
    return content, digests


def _longest_waiting_first(parts: Mapping[str, Part], shown: Mapping[str, str]) -> list[tuple[str, Part]]:
    """Return the parts that are not shown yet, then the others in the order in which they were sent.

    Otherwise the first ones would keep out the last ones while a sweep changes faster than a browser draws.
    """
    places = {name: place for place, name in enumerate(shown)}
    return sorted(parts.items(), key=lambda item: places.get(item[0], -1))


def _made(name: str, part: Part, found: str, shown: str, made: Made) -> dict[str, object]:
    if part.change is not None and _only_moves(part, shown):
        return {name: part.change()}
    return made.contents(name, part, found)


def _only_moves(part: Part, shown: str) -> bool:
    return part.change is not None and shown.startswith(f"{part.digest} ")
