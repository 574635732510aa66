"""The documentation agrees with the code: links lead somewhere, commands and hooks are described, examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("*/README.md")])
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its code blocks, where brackets mean other things."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#{1,3} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path, language: str) -> list[str]:
    matches = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [match["body"] for match in matches if match["language"] == language]


def python_blocks(page: Path) -> list[str]:
    return blocks(page, "python")


def sections(page: Path, level: str) -> dict[str, str]:
    """Heading to text, for the headings of one level that are a name in backticks."""
    parts = re.split(rf"^{level} (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {head.strip("`"): body for head, body in zip(parts[1::2], parts[2::2], strict=True) if head.startswith("`")}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in (match["target"] for match in LINK.finditer(prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (page.parent / file).resolve() if file else page
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert not broken, f"{name_of(page)} links to what is not there: {broken}"


@pytest.mark.parametrize("folder", ["plugins", "envs", "benchmarks", "examples", "tests"])
def test_every_folder_introduces_itself(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def test_every_command_and_option_is_documented() -> None:
    import typer.main

    app = importlib.import_module("bat_agent.cli").app
    commands = typer.main.get_group(app).commands
    described = {head.removeprefix("bat-agent "): text for head, text in sections(DOCS / "commands.md", "##").items()}
    assert set(described) == set(commands)
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        missing = options - set(re.findall(r"--[\w-]+", described[name]))
        assert not missing, f"docs/commands.md does not mention {sorted(missing)} under bat-agent {name}"


def test_every_hook_has_a_heading_and_its_signature() -> None:
    from bat_agent import hookspecs

    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, f"{hookspecs.PROJECT}_spec")}
    described = sections(DOCS / "plugins.md", "###")
    assert set(described) == set(hooks) != set()
    for name, hook in hooks.items():
        signature = str(inspect.signature(hook)).replace("'", "")
        assert f"def {name}{signature}: ..." in described[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_compile_and_their_sessions_print_what_they_say(page: Path) -> None:
    for block in python_blocks(page):
        if not block.startswith(">>>"):
            compile(block, name_of(page), "exec")
            continue
        session = doctest.DocTestParser().get_doctest(block, {}, name_of(page), str(page), 0)
        assert doctest.DocTestRunner(verbose=False).run(session).failed == 0


def test_python_blocks_use_public_names_that_exist() -> None:
    """``bat_agent.load`` and its like, in README and guides, must be real; a renamed function is found here."""
    import bat_agent

    for page in PAGES:
        for block in python_blocks(page):
            if block.startswith(">>>"):
                continue
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bat_agent":
                    module = importlib.import_module(node.module or "")
                    names = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                    missing = [name for name in names if not importlib.util.find_spec(f"{node.module}.{name}")]
                    assert not missing, f"{name_of(page)} imports {missing} from {node.module}"
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "bat_agent"
                ):
                    # A module that something else has imported is an attribute here, and none for a reader.
                    known = {*bat_agent.__all__, "__version__"}
                    assert node.attr in known, f"{name_of(page)} uses bat_agent.{node.attr}"


def test_the_example_of_simulators_runs_as_it_stands() -> None:
    """It named a module that had moved, and that nothing in it imported."""
    example = python_blocks(DOCS / "simulators.md")[0]
    assert "simulator_of(scene)" in example
    ends = "\nassert len(rirs) == 2 and all((a == b).all() for a, b in zip(rirs, again, strict=True))\n"
    done = subprocess.run([sys.executable, "-c", example + ends], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def example_plugin(tmp_path: Path) -> Path:
    """The package of docs/plugins.md as a reader would write it, with the metadata that pip would make of it."""
    for block in python_blocks(DOCS / "plugins.md"):
        if header := re.match(r"# (?P<file>[\w/]+\.py)\n", block):
            file = tmp_path / header["file"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(block, encoding="utf-8")
    (tmp_path / "ear_levels" / "__init__.py").touch()
    (toml,) = blocks(DOCS / "plugins.md", "toml")
    ((group, entry),) = re.findall(r'^\[project\.entry-points\.(\w+)\]\n(\w+ = "[\w.]+")$', toml, re.MULTILINE)
    info = tmp_path / "ear_levels-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ear-levels\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n".replace('"', ""))
    return tmp_path


def run_python(arguments: list[str], plugin: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds the plugin; one thread, as everywhere in the tests."""
    path = os.pathsep.join([str(plugin), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=plugin, env=environment, capture_output=True, text=True)


def test_the_example_plugin_is_found_and_tells_left_from_right(example_plugin: Path) -> None:
    program = (
        "import torch; from bat_agent import load_encoder\n"
        "encoder = load_encoder('ear-levels', token_s=0.25, token_dim=8)\n"
        "left = torch.zeros(1, 2, 320_000); left[:, 0] = 0.1\n"
        "tokens = encoder(left).tokens\n"
        "assert tokens.shape == (1, encoder.num_tokens, encoder.token_dim) == (1, 40, 8), tokens.shape\n"
        "assert not torch.allclose(tokens, encoder(left.flip(1)).tokens)\n"
    )
    done = run_python(["-c", program], example_plugin)
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_what_the_demo_says(tmp_path: Path) -> None:
    """Answers change with the shipped weights; how sure they are may differ by a processor's rounding."""
    shown = next(block for block in blocks(DOCS / "commands.md", "text") if "right:" in block)
    command = [Path(sys.executable).with_name("bat-agent"), "demo", "--out", str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert answers(done.stdout) == answers(shown)
    short = next(block for block in blocks(ROOT / "README.md", "text") if "right:" in block).splitlines()
    rows = demo_rows(shown)
    for line in short[2:-2]:
        question, answer, truth = re.split(r"\s{2,}", line.strip(" ✓"))
        (row,) = [row for row in rows if row["question"].startswith(question.rstrip(" …"))]
        assert (row["answer"], row["truth"]) == (answer, truth)
    assert short[-1] in shown.splitlines()


def demo_rows(printed: str) -> list[dict[str, str]]:
    """The rows of the demo's table, folded cells put together again."""
    lines = printed.splitlines()
    header = next(line for line in lines if line.startswith(" type "))
    starts = [header.index(name) for name in header.split()]
    rows: list[dict[str, str]] = []
    for line in lines[lines.index(header) + 2 :]:
        if not line.strip():
            break
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if cells[0]:
            rows.append(dict.fromkeys(header.split(), ""))
        for name, cell in zip(header.split(), cells, strict=True):
            rows[-1][name] = f"{rows[-1][name]} {cell}".strip()
    return rows


def test_every_python_block_runs_and_every_command_is_understood() -> None:
    """In processes of their own: ``bat_agent.rendering.simulator_of`` was shown, and raised AttributeError."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_docs.py")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ran, left_out, commands = map(int, re.findall(r"\d+", done.stdout.splitlines()[-1]))
    assert ran >= 14
    assert left_out <= 12
    assert commands >= 60


def answers(printed: str) -> list[str]:
    """The lines of the demo's table, less the confidences."""
    table = re.search(r"^ type .*?^right: \d+ of \d+", printed, re.MULTILINE | re.DOTALL)
    assert table is not None, printed
    return [re.sub(r"\b[01]\.\d\d\b", "", line).rstrip() for line in table[0].splitlines()]
