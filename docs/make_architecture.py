"""Draws docs/architecture.svg from the imports of the code: python docs/make_architecture.py

A box is a folder of adabatch, or a package; ``entries`` are the files at adabatch's top that import one of its folders,
``base`` those that do not. The file is plain text and depends on the imports alone; a test compares it with the code.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGES = ("adabatch", "launch", "analysis")

_BOX_WIDTH, _BOX_HEIGHT = 132, 36
_COLUMN, _ROW, _MARGIN = 160, 78, 24
Graph = dict[str, set[str]]


def module_name(path: Path) -> str:
    """Return the dotted name of a Python file; a package's for its ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def module_imports(*folders: str) -> Graph:
    """Return, by module of top-level folders, the modules of these folders that it imports anywhere in its text."""
    paths = {module_name(path): path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}
    return {name: set(_imported(path, paths)) - {name} for name, path in paths.items()}


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # ``from package import module`` names a module, ``from module import name`` does not.
            names = [full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names]
        yield from (name for name in names if name in known)


def group(modules: Graph, node_of: dict[str, str]) -> Graph:
    """Return the imports between nodes, given each module's node."""
    nodes: Graph = {node: set() for node in node_of.values()}
    for module, imported in modules.items():
        nodes[node_of[module]] |= {node_of[name] for name in imported} - {node_of[module]}
    return nodes


def boxes() -> Graph:
    """Return the imports between the boxes of the picture."""
    modules = module_imports(*PACKAGES)
    return group(modules, {module: _box(module, modules) for module in modules})


def _box(module: str, modules: Graph) -> str:
    package, _, rest = module.partition(".")
    if package != "adabatch":
        return package
    if (ROOT / module.replace(".", "/")).is_dir() or "." in rest:
        return rest.partition(".")[0] or "base"
    reached = {name for name in _reachable(module, modules) if name.count(".") == 2}
    return "entries" if reached else "base"


def _reachable(start: str, graph: Graph) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def reduced(graph: Graph) -> Graph:
    """Return a graph without circles, less the arrows that follow from longer ways."""
    return {
        node: {end for end in ends if not any(end in _reachable(other, graph) for other in ends - {end})}
        for node, ends in graph.items()
    }


def _levels(graph: Graph) -> dict[str, int]:
    """Return the row of each box, from the bottom: right below the lowest one that imports it, if there is any."""

    @functools.cache
    def height(node: str) -> int:
        return 1 + max((height(end) for end in graph[node]), default=-1)

    @functools.cache
    def level(node: str) -> int:
        importers = [other for other in graph if node in graph[other]]
        return min((level(other) for other in importers), default=height(node) + 1) - 1

    return {node: level(node) for node in graph}


def _positions(arrows: Graph) -> dict[str, tuple[float, float]]:
    """Return the centers of the boxes, each near those that it points to."""
    levels = _levels(arrows)
    inner = [node for node in sorted(arrows) if node not in PACKAGES]
    columns: dict[str, float] = {}
    for row in range(max(levels.values()) + 1):
        wanted = {node: _mean([columns[end] for end in arrows[node]]) for node in inner if levels[node] == row}
        placed = sorted(wanted, key=lambda node: (wanted[node], node))
        middle = _mean(list(wanted.values()))
        for place, node in enumerate(placed):
            columns[node] = middle + place - (len(placed) - 1) / 2
    columns |= {"launch": min(columns.values()) - 1.2, "analysis": max(columns.values()) + 1.2}
    left, top = min(columns.values()), max(levels.values())
    return {
        node: (
            _MARGIN + _BOX_WIDTH / 2 + (columns[node] - left) * _COLUMN,
            _MARGIN + _BOX_HEIGHT + (top - levels[node]) * _ROW,
        )
        for node in arrows
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def edge_list(graph: Graph) -> str:
    """Return all imports between boxes, one line for each box."""
    return "\n".join(f"{node} -> {', '.join(sorted(graph[node])) or 'nothing'}" for node in sorted(graph))


def draw() -> str:
    """Return the picture as SVG."""
    graph = boxes()
    arrows = reduced(graph)
    places = _positions(arrows)
    inner = [places[node] for node in places if node not in PACKAGES]
    half_width, half_height = _BOX_WIDTH / 2, _BOX_HEIGHT / 2
    left, right = min(x for x, _ in inner) - half_width - 12, max(x for x, _ in inner) + half_width + 12
    top, bottom = min(y for _, y in inner) - half_height - 26, max(y for _, y in inner) + half_height + 12
    width = max(x for x, _ in places.values()) + half_width + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom + _MARGIN:g}" '
        'font-family="sans-serif" font-size="14" text-anchor="middle">',
        "<title>Which part of the code imports which</title>",
        f"<desc>\n{edge_list(graph)}\n</desc>".replace("->", "-&gt;"),
        '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker>',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="8" fill="#f3f6fa" '
        'stroke="#9ab"/>',
        f'<text x="{left + 12:g}" y="{top + 18:g}" text-anchor="start" fill="#456">adabatch</text>',
    ]
    for node in sorted(arrows):
        for end in sorted(arrows[node] - {"base"}):
            (x1, y1), (x2, y2) = places[node], places[end]
            lines.append(
                f'<path d="M{x1:g} {y1 + half_height:g}L{x2:g} {y2 - half_height:g}" stroke="#555" '
                'marker-end="url(#head)"/>'
            )
    for node, (x, y) in sorted(places.items()):
        if node == "base":  # all import it: a floor instead of arrows
            lines.append(
                f'<rect x="{left + 12:g}" y="{y - half_height:g}" width="{right - left - 24:g}" '
                f'height="{_BOX_HEIGHT}" rx="6" fill="#fff" stroke="#357"/>'
            )
            lines.append(f'<text x="{(left + right) / 2:g}" y="{y + 5:g}">base: imported by all</text>')
            continue
        fill = "#fde9c8" if node in PACKAGES else "#fff"
        lines.append(
            f'<rect x="{x - half_width:g}" y="{y - half_height:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" '
            f'fill="{fill}" stroke="#357"/>'
        )
        lines.append(f'<text x="{x:g}" y="{y + 5:g}">{node}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
