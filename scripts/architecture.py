"""How the house stands: parts, floors and who imports whom, read from the source.

    python scripts/architecture.py [TREE]           # counts, long files and functions, what breaks the order
    python scripts/architecture.py --draw FILE.svg  # the picture of docs/architecture.md

A part is a package inside ``bat_agent``, one of its own modules, or a package under ``plugins/`` and ``envs/``. Imports
count wherever they stand: at the top, inside a function, or for types alone.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "bat_agent"
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "hookspecs", "hub", "data", "models", "_moved"),
    ("extras", "labels", "files", "http_server", "threads"),
    ("scene", "checkpoint"),
    ("interfaces",),
    ("registry", "distributed", "sound", "questions", "testing"),
    ("scenes", "hearing", "recipes", "language", "ambisonics", "chat"),
    ("ears", "datasets", "recordings"),
    ("agent", "lite"),
    ("loading",),
    ("listening", "clips"),
    ("bat_agent",),
    ("serving", "evaluation", "timeline", "exporting"),
    ("training", "scoring"),
    ("cli",),
    ("train", "evaluate", "study"),
)
"""The parts of the core from the ground up; a part imports only what lies below it. ``bat_agent`` is its front door."""
PUBLIC = (
    "bat_agent",
    "bat_agent.checkpoint",
    "bat_agent.errors",
    "bat_agent.extras",
    "bat_agent.files.reading",
    "bat_agent.files.writing",
    "bat_agent.hearing.perception",
    "bat_agent.hearing.posterior",
    "bat_agent.hookspecs",
    "bat_agent.hub",
    "bat_agent.interfaces",
    "bat_agent.labels",
    "bat_agent.language",
    "bat_agent.questions",
    "bat_agent.registry",
    "bat_agent.scene",
    "bat_agent.sound.acoustics",
    "bat_agent.sound.audio",
    "bat_agent.sound.colour",
    "bat_agent.sound.features",
    "bat_agent.sound.overlap",
    "bat_agent.sound.rigid_sphere",
    "bat_agent.sound.rir_measures",
    "bat_agent.sound.sofa",
    "bat_agent.sound.sofa_data",
    "bat_agent.sound.sofa_frames",
    "bat_agent.sound.torchaudio_parts",
    "bat_agent.testing",
    "bat_agent.training.helpers",
)
"""The modules of the core that a plugin may import; their names without a leading underscore are kept stable."""
Modules = Mapping[str, Path]
Arrows = dict[str, set[str]]


def modules(tree: Path) -> dict[str, Path]:
    """Every module of the core, the plugins and the environments: dotted name → file."""
    found = {}
    for base in (tree, tree / "plugins", tree / "envs"):
        for package in sorted(base.glob("bat_agent*/__init__.py")):
            for file in package.parent.rglob("*.py"):
                name = ".".join(file.relative_to(base).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = file
    return found


def imports(known: Modules) -> Arrows:
    """Module → the modules of the house that it imports."""
    arrows: Arrows = {name: set() for name in known}
    for name, file in known.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in _targets(node, known):
                if target != name:
                    arrows[name].add(target)
    return arrows


def _targets(node: ast.AST, known: Modules) -> Iterator[str]:
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        wanted = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in wanted:
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name:
            yield name


def part_of(module: str) -> str:
    """``bat_agent.sound.audio`` → ``sound``; a plugin is one part."""
    package, _, inside = module.partition(".")
    return (inside.partition(".")[0] or CORE) if package == CORE else package


def between_parts(arrows: Arrows) -> Arrows:
    """Part → the parts it imports from."""
    parts: Arrows = defaultdict(set)
    for module, targets in arrows.items():
        parts[part_of(module)] |= {part_of(target) for target in targets} - {part_of(module)}
    return dict(parts)


def circles(arrows: Arrows) -> list[list[str]]:
    """Groups that import each other, directly or round about (strongly connected components)."""
    reach = {start: _reachable(start, arrows) for start in arrows}
    groups = {tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in arrows if a in reach[a]}
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, arrows: Arrows) -> set[str]:
    seen: set[str] = set()
    todo = list(arrows[start])
    while todo:
        if (here := todo.pop()) not in seen:
            seen.add(here)
            todo += arrows.get(here, ())
    return seen


def broken(arrows: Arrows) -> list[str]:
    """One sentence for every import that goes up, sideways or past the public modules, and every part with no floor."""
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    said = []
    for module, targets in sorted(arrows.items()):
        here = part_of(module)
        inside = module.split(".")[0] == CORE
        if inside and here not in floor:
            said.append(f"{module}: {here} has no floor; give it one in FLOORS of scripts/architecture.py")
            continue
        for target in sorted(targets):
            there = part_of(target)
            if inside and there != here and not floor.get(there, len(FLOORS)) < floor[here]:
                said.append(f"{module} imports {target}, which does not lie below {here}")
            if here in _plugins(arrows) and there != here and not _may(target):
                said.append(f"{module} imports {target}, which is not among PUBLIC of scripts/architecture.py")
    return said


def _plugins(arrows: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in arrows if name.endswith(".hooks")}


def _may(target: str) -> bool:
    return target in PUBLIC or target.startswith("bat_agent.questions.") or target == CORE


def height(parts: Arrows) -> dict[str, int]:
    """How many parts stand below each other under a part; only where there are no circles."""
    found: dict[str, int] = {}

    def of(part: str) -> int:
        if part not in found:
            found[part] = 1 + max((of(below) for below in parts.get(part, ())), default=-1)
        return found[part]

    for part in parts:
        of(part)
    return found


def longest(known: Modules, most: int = 5) -> list[str]:
    """The longest files, and the longest functions, with their lines."""
    files, functions = [], []
    for name, file in known.items():
        text = file.read_text(encoding="utf-8")
        files.append((text.count("\n"), name))
        defined = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        functions += [((n.end_lineno or n.lineno) - n.lineno + 1, f"{name}.{n.name}") for n in defined]
    ranked = [sorted(some, reverse=True)[:most] for some in (files, functions)]
    return [", ".join(f"{what} {lines}" for lines, what in some) for some in ranked]


def report(tree: Path) -> str:
    """The figures of a tree, as text."""
    known = modules(tree)
    arrows = imports(known)
    parts = between_parts(arrows)
    found = circles(arrows), circles(parts)
    files, functions = longest(known)
    lines = [
        f"files at the top of bat_agent/: {len(list((tree / CORE).glob('*.py')))}",
        f"parts: {len(parts)}, of the core {sum(not part.startswith('bat_agent_') for part in parts)}",
        f"floors: {1 + max(height(parts).values()) if not found[1] else 'none, for the circles'}",
        f"arrows between parts: {sum(map(len, parts.values()))}",
        f"circles of modules: {found[0] or 'none'}",
        f"circles of parts: {found[1] or 'none'}",
        f"longest files: {files}",
        f"longest functions: {functions}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the figures, or draw the picture; exit code 1 where the order is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="?", type=Path, default=ROOT, help="a checkout; this one unless given")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="write the picture of the floors")
    given = parser.parse_args()
    if given.draw:
        from architecture_picture import draw  # needs matplotlib, which counting does not

        draw(between_parts(imports(modules(given.tree))), FLOORS, given.draw)
        return 0
    print(report(given.tree))
    if given.tree.resolve() != ROOT:
        return 0
    wrong = broken(imports(modules(given.tree)))
    print("\n".join(wrong) or "order: every import goes down")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
