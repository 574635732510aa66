"""Run what README and docs show: every Python block, each page in a process of its own; commands are read, not run.

    python scripts/run_docs.py [PAGE …]

The blocks of a page run one after the other, as a reader would type them, in an empty folder with a ``kitchen.wav`` and
a ``demo/two_sounds.wav``. A block that begins with ``# folder/file.py`` is written there instead; a ``toml`` block with
entry points makes those files an installed plugin. ``<!-- not run: why -->`` before a block leaves it out, and says so
here. Commands are read by the real command line, which does nothing else: an option that does not exist is found.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]*) -->\n)?^```(?P<language>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
APPS = {
    "bat-agent": "bat_agent.cli",
    "bat-listen": "bat_agent.cli.listen",
    "python -m bat_agent.train": "bat_agent.cli.train",
    "python -m bat_agent.evaluate": "bat_agent.cli.evaluate_agent",
    "python -m bat_agent.study": "bat_agent.cli.study",
}
FOREIGN = ("torch", "numpy", "scipy.signal", "soundfile", "soxr", "gymnasium", "typer", "rich.console")
"""Imported before pages part ways: what costs seconds, and nothing of ours, which would hide a missing import."""


def python_blocks(page: Path) -> Iterator[tuple[int, str, str | None]]:
    """(line, text, why it is not run) of each Python block; sessions with ``>>>`` are tested elsewhere."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        body = found["body"]
        if found["language"] == "python" and not body.startswith((">>>", "def bat_agent_")):
            yield text.count("\n", 0, found.start("body")) + 1, body, found["why"]


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of each command of ours in the blocks of a page; outlines with brackets are left out."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if found["language"] == "python":
            continue
        first = text.count("\n", 0, found.start("body")) + 1
        joined = re.sub(r"\\\n\s*", lambda m: " " * len(m[0]), found["body"])
        for number, line in enumerate(joined.splitlines(), first):
            line = re.sub(r"^(?:[A-Z_]+=\S+ )+|^torchrun .*?-m ", "", re.sub(r"\s#.*", "", line))
            line = line.replace("bat_agent.", "python -m bat_agent.", 1) if line.startswith("bat_agent.t") else line
            if any(line.startswith(f"{name} ") for name in APPS) and not re.search(r"[\[(|…]", line):
                with contextlib.suppress(ValueError):  # a quotation over several lines is no command
                    yield number, shlex.split(line)


def run_blocks(page: Path) -> list[str]:
    """What went wrong in the Python blocks of a page; runs in the current folder."""
    _sounds()
    _install(page)
    names: dict[str, Any] = {"__name__": "docs"}
    wrong = []
    for line, body, why in python_blocks(page):
        code = compile("\n" * (line - 1) + body, str(page), "exec")
        if header := re.match(r"# (?P<file>[\w/]+\.py)\n", body):
            _write(Path(header["file"]), body)
        elif why is None:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(code, names)
            except BaseException:
                last = traceback.format_exc().strip().splitlines()
                wrong.append(f"{page.relative_to(ROOT)}, line {line}: {last[-1]}")
    return wrong


def check_commands(page: Path) -> list[str]:
    """Commands of a page that the command line refuses."""
    from bat_agent.cli.renamed import BAT_AGENT, BAT_LISTEN, with_new_names

    wrong = []
    for line, words in commands(page):
        name = next(name for name in APPS if words[: len(name.split())] == name.split())
        rest = words[len(name.split()) :]
        try:
            old = {"bat-agent": BAT_AGENT, "bat-listen": BAT_LISTEN}.get(name, {})
            if with_new_names(rest, old) != rest:
                raise ValueError("an old name of an option")
            _idle(name)(args=rest, prog_name=name, standalone_mode=False)
        except Exception as error:
            said = error.format_message() if hasattr(error, "format_message") else str(error)
            wrong.append(f"{page.relative_to(ROOT)}, line {line}: {' '.join(words)}: {said}")
    return wrong


def _idle(name: str) -> Any:
    """The command line ``name`` with commands that do nothing."""
    import typer.main

    def rest(command: Any) -> None:
        command.callback = (lambda **options: None) if command.callback else None
        for inner in getattr(command, "commands", {}).values():
            rest(inner)

    command = typer.main.get_command(importlib.import_module(APPS[name]).app)
    rest(command)
    return command


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(text, encoding="utf-8")


def _install(page: Path) -> None:
    """What pip would note of the plugin whose ``pyproject.toml`` the page shows."""
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        entry = re.search(r'^\[project\.entry-points\.bat_agent\]\n(\w+) = "([\w.]+)"$', found["body"], re.MULTILINE)
        if found["language"] == "toml" and entry:
            info = Path(f"{entry[1]}-0.1.0.dist-info")
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {entry[1]}\nVersion: 0.1.0\n")
            (info / "entry_points.txt").write_text(f"[bat_agent]\n{entry[1]} = {entry[2]}\n")


def _sounds() -> None:
    """Two seconds of a beep on the left over faint noise."""
    import numpy as np
    import soundfile

    noise = 0.003 * np.random.default_rng(0).standard_normal((64_000, 2))
    beep = 0.1 * np.sin(2 * np.pi * 700 * np.arange(64_000) / 32_000)[:, None] * [1.0, 0.3]
    Path("demo").mkdir()
    for name in ("kitchen.wav", "demo/two_sounds.wav"):
        soundfile.write(name, noise + beep, 32_000, subtype="FLOAT")


def _in_a_process(check: Callable[[], list[str]], what: str) -> list[str]:
    """What ``check`` finds in a process that begins with what is not ours."""
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        ended = [] if status == 0 else [f"{what}: its process ended with status {status}"]
        return [*filter(None, said.split("\n")), *ended]
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            sys.path.insert(0, folder)
            wrong = check()
            os.chdir(ROOT)
        os.write(write, "\n".join(wrong).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(pages: list[Path]) -> int:
    """Print what went wrong and how much was run; 1 where anything went wrong."""
    for name in FOREIGN:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.split(".")[0].startswith("bat_agent")]
    assert not ours, ours
    wrong = 0
    checks = [(partial(run_blocks, page), page.name) for page in pages if any(python_blocks(page))]
    for check, what in [*checks, (lambda: [line for page in pages for line in check_commands(page)], "commands")]:
        found = _in_a_process(check, what)
        wrong += len(found)
        print("\n".join(found), end="\n" if found else "", flush=True)
    blocks = [block for page in pages for block in python_blocks(page)]
    left_out = sum(why is not None for _, _, why in blocks)
    checked = sum(len(list(commands(page))) for page in pages)
    print(f"{len(blocks) - left_out} Python blocks ran, {left_out} say why not; {checked} commands were read")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main([Path(name).resolve() for name in sys.argv[1:]] or PAGES))
