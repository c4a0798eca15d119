"""Import graph of the subpackages ("rooms"): which room imports from which, level by level.

``python tools/rooms.py`` prints every room below those that import from it, with the rooms that it imports from. Imports within functions
are ignored, because they are lazy and no type depends on them. `tests/test_house.py` checks that there are no cycles.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = ("kernels", "devices", "analogpc")
Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Return the paths of all modules by installed name."""
    found = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if floor == "analogpc" else ("analogpc", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """Return the room of a module: its subpackage, or the module itself if it is at the top of its level."""
    parts = module.split(".")
    return ".".join(parts[: 3 if len(parts) > 1 and parts[1] in FLOORS else 2])


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that a module imports outside of functions, including imports for types."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        waiting += [c for c in ast.iter_child_nodes(node) if not isinstance(c, (ast.FunctionDef, ast.AsyncFunctionDef))]
        if isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in full)


def drawn() -> Graph:
    """Return the import graph: for every room, the rooms that it imports from."""
    known = modules()
    graph: Graph = {room(module): set() for module in known}
    for module, path in known.items():
        graph[room(module)] |= {room(other) for other in imports(path, known) if other in known} - {room(module)}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Return the import cycles: strongly connected components of more than one room."""
    reached = {name: set(others) for name, others in graph.items()}
    for middle, start in itertools.product(graph, graph):
        if middle in reached[start]:
            reached[start] |= reached[middle]
    groups = {frozenset({name, *(o for o in reached[name] if name in reached[o])}) for name in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def levels(graph: Graph) -> dict[str, int]:
    """Return the height of each room above the lowest one in the import graph, which must be acyclic."""
    found: dict[str, int] = {}
    while len(found) < len(graph):
        for name, others in graph.items():
            if name not in found and others <= found.keys():
                found[name] = 1 + max((found[other] for other in others), default=0)
    return found


def main() -> None:
    """Print the import graph."""
    graph = drawn()
    height = levels(graph)
    for name in sorted(graph, key=lambda one: (-height[one], one)):
        short = ", ".join(sorted(other.removeprefix("analogpc.") for other in graph[name]))
        print(f"{height[name]:2}  {name.removeprefix('analogpc.'):28} {short}")


if __name__ == "__main__":
    main()
