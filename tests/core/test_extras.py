"""What is declared is what is imported, the base goes without the extras, and a missing one is told in a sentence."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bat_agent import extras
from bat_agent.errors import BadInput, PluginError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "bat_agent", *(ROOT / "plugins").glob("bat_agent_*"), *(ROOT / "envs").glob("bat_agent_*")]
OURS = {package.name for package in PACKAGES}
NOT_FROM_PIP = {"habitat_sim", "habitat", "gym", "hydra"}  # in the user's own environment, beside which ours are
"""Import names that no extra brings: a simulator that conda installs, and the libraries it brings along."""
COPIED = {"bat_agent_client"}
"""What our own client is called where it is copied out, as `habitat_sensors.py` is beside it."""


def imported() -> dict[str, set[str]]:
    """Top-level name of every module of others that we import, and the files that import it."""
    found: dict[str, set[str]] = {}
    for file in (file for package in PACKAGES for file in package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                names = []
            for name in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OURS:
                found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    return found


def declared(extra: str = "") -> set[str]:
    """Distributions that the base, or an extra on top of it, asks for."""
    wanted = [Requirement(text) for text in metadata.requires(extras.DISTRIBUTION) or []]
    here = [
        (normal(r.name), str(r.marker or "")) for r in wanted if r.marker is None or r.marker.evaluate({"extra": extra})
    ]
    return {name for name, marker in here if ("extra ==" in marker) == bool(extra)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(module: str) -> set[str]:
    """By what is installed here: whose files a module consists of; else it is called like its distribution."""
    return {normal(name) for name in _installed().get(module, [module])}


@cache
def _installed() -> Mapping[str, list[str]]:
    """Asked once: all files of all that is installed are gone through for it."""
    return metadata.packages_distributions()


def test_every_import_is_declared() -> None:
    everything = declared().union(*map(declared, extras.EXTRAS))
    undeclared = {
        name: sorted(files)
        for name, files in imported().items()
        if name not in NOT_FROM_PIP | COPIED and not distributions(name) & everything
    }
    assert not undeclared


def test_everything_declared_for_the_base_is_imported() -> None:
    used = set().union(*map(distributions, imported()))
    assert declared() - used == set()


def test_the_table_of_extras_is_what_pyproject_declares() -> None:
    for name, extra in extras.EXTRAS.items():
        # talk stands on llm, whose packages its own table need not repeat.
        on_top = declared(name) - (declared("llm") if name == "talk" else set())
        assert set(extra.packages.values()) == on_top, name
        assert all(distributions(module) == {pip} for module, pip in extra.packages.items()), name
        assert not set(extra.packages.values()) & declared(), name  # the base has none of them


def test_what_is_imported_of_an_extra_is_never_imported_by_a_module_of_the_base() -> None:
    """At the top of a module stands an extra's package only where a test below tells what its absence says."""
    late = {module for extra in extras.EXTRAS.values() for module in extra.packages}
    early = set()
    for file in (file for package in PACKAGES for file in package.rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            early |= {(file.name, name.split(".")[0]) for name in names if name.split(".")[0] in late}
    assert early <= {
        *(("web.py", name) for name in ("uvicorn", "starlette")),  # bat-listen --web
        ("app.py", "starlette"), ("server.py", "uvicorn"),  # bat-agent serve
        ("http_server.py", "starlette"), ("http_server.py", "uvicorn"),  # of both
        ("launch.py", "accelerate"), ("cached_features.py", "accelerate"),  # python -m bat_agent.train
        ("contracts.py", "pytest"),  # bat_agent.testing
    }  # fmt: skip


# --- a package that is missing ---

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(program: str, *arguments: str, without: set[str]) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in which some packages are not to be found."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=without) + program, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def every_package() -> set[str]:
    return {module for extra in extras.EXTRAS.values() for module in extra.packages} - {"pytest"}


MAIN = "from bat_agent.cli import main; main()"
LISTEN = "from bat_agent.cli.listen import main; main()"
TRAIN = "import runpy; runpy.run_module('bat_agent.train', run_name='__main__')"


def test_the_base_needs_no_extra(tmp_path: Path) -> None:
    """The demo, and with its sounds ask and perceive; then plugins, doctor and a wrapped environment."""
    done = python(MAIN, "demo", "--out", str(tmp_path), without=every_package())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scene.png").is_file()
    sound = str(tmp_path / "one_sound.wav")
    for arguments in (("ask", sound, "What is sounding?"), ("perceive", sound), ("plugins",)):
        done = python(MAIN, *arguments, without=every_package())
        assert done.returncode == 0, (arguments, done.stderr)
    environment = """
import gymnasium
from bat_agent_envs import SpatialHearing
env = SpatialHearing(gymnasium.make("bat_agent_envs/AudioGoal-v0"), turn_key="pose")
env.reset(seed=0); env.step(0)
"""
    done = python(environment, without=every_package())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "program", "arguments", "extra"),
    [
        ("accelerate", TRAIN, ("spatial-ast-tiny", "--dry-run"), "train"),
        ("tensorboard", TRAIN, ("spatial-ast-tiny", "--dry-run"), "train"),
        ("sklearn", "from bat_agent.cli.entry import run_app; from bat_agent.evaluation import metrics\n"
         "class App:\n def __call__(self, **k): metrics.average_precisions([[1]], [[1.]])\nrun_app(App(), 'x', [])",
         (), "train"),
        ("transformers", MAIN, ("ask", "{sound}", "What?", "--reasoner", "llama"), "llm"),
        ("tokenizers", MAIN, ("ask", "{sound}", "What?", "--reasoner", "llama"), "llm"),
        ("starlette", MAIN, ("serve", "--port", "0"), "listen"),
        ("uvicorn", MAIN, ("serve", "--port", "0"), "listen"),
        ("uvicorn", LISTEN, ("--walk", "Siren", "--web", "--port", "0"), "listen"),
        ("sounddevice", LISTEN, ("devices",), "listen"),
        ("pytest", "from bat_agent.cli.entry import run_app\n"
         "class App:\n def __call__(self, **k): import bat_agent.testing\nrun_app(App(), 'x', [])", (), "contracts"),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value and ";" not in value else "",
)  # fmt: skip
def test_a_missing_package_is_one_sentence(
    package: str, program: str, arguments: tuple[str, ...], extra: str, one_sound: Path
) -> None:
    arguments = tuple(argument.format(sound=one_sound) for argument in arguments)
    done = python(program, *arguments, without={package})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert package.replace("sklearn", "scikit-learn") in done.stderr
    assert extras.how_to_install(extra) in done.stderr


@pytest.fixture(scope="module")
def one_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np
    import soundfile

    file = tmp_path_factory.mktemp("sound") / "noise.wav"
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal((32_000, 2)), 32_000, subtype="FLOAT")
    return file


def test_a_missing_peft_or_jinja2_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from bat_agent_llama import lora
    from bat_agent_scene_prompt.chat_model import ChatModel

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BadInput, match=r"^adapter=lora needs the package peft, which is not installed; run "):
        lora.inject(None, rank=1, alpha=1, dropout=0.0, targets=())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "jinja2.exceptions", None)
    with pytest.raises(ImportError) as error:
        ChatModel._takes_system(None)  # type: ignore[arg-type]
    assert "package jinja2, which is not installed" in (extras.sentence_about(error.value) or "")


def test_what_a_component_imports_late_is_told_as_what_it_imports_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from bat_agent import registry

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"reasoner 'llama' .* needs something that is missing: .*'\.\[llm\]'"):
        registry.create("reasoner", "llama", {})


def test_a_package_that_does_not_load_is_not_called_missing() -> None:
    with (
        pytest.raises(BadInput, match=r"^x needs scikit-learn, which does not load \(no symbol\); run"),
        extras.needed("train", "x"),
    ):
        raise ImportError("no\nsymbol".replace("\n", " "), name="sklearn.metrics")


def test_a_fault_of_our_own_is_no_missing_extra() -> None:
    with pytest.raises(ImportError, match="cannot import"), extras.needed("train", "x"):
        raise ImportError("cannot import name 'f'", name="bat_agent.train")


# --- where an extra comes from ---


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        (None, "run pip install '.[llm]' in a clone of bat-agent"),
        ({"url": "file:///home/a/bat", "dir_info": {"editable": True}},
         "run pip install --editable '.[llm]' in /home/a/bat"),
        ({"url": "file:///home/a/bat", "dir_info": {}}, "run pip install '.[llm]' in /home/a/bat"),
        ({"url": "https://a.example/bat.git", "vcs_info": {"vcs": "git", "commit_id": "1f"}},
         "run pip install 'bat-agent[llm] @ git+https://a.example/bat.git@1f'"),
        ({"url": "file:///tmp/bat_agent-0.1.0-py3-none-any.whl", "archive_info": {}},
         "run pip install 'bat-agent[llm] @ file:///tmp/bat_agent-0.1.0-py3-none-any.whl'"),
    ],
)  # fmt: skip
def test_an_extra_is_brought_from_where_we_came_from(
    monkeypatch: pytest.MonkeyPatch, noted: dict[str, object] | None, words: str
) -> None:
    """The notes are written as PEP 610 shows them."""

    class Noted:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if noted is None else json.dumps(noted)

    monkeypatch.setattr(metadata, "distribution", lambda name: Noted())
    assert extras.how_to_install("llm") == words


FROM_INDEX = re.compile(r"pip3? install(?: -\S+)* ['\"]?bat[-_]agent(\[[\w, ]*\])?['\"]?(?! ?@)(?=[\s'\"`)]|$)")
"""What would have pip look for our name on an index: no path, no wheel, no address behind an ``@``."""


def test_nothing_is_to_be_fetched_from_an_index_under_our_name() -> None:
    """The distribution is on no index; whoever has our name there is a stranger."""
    bad = ("pip install bat-agent", "pip install 'bat-agent[listen]'", 'pip install -U "bat_agent"')
    assert all(FROM_INDEX.search(text) for text in bad)
    good = ("pip install 'bat-agent[llm] @ git+https://a.example/b'", "pip install ./bat_agent-0.1.0-py3-none-any.whl")
    assert not any(FROM_INDEX.search(text) for text in good)
    folders = ("bat_agent", "plugins", "envs", "docs", "examples", "benchmarks", "tests")
    kinds = ("*.py", "*.md", "*.yaml", "*.html")
    files = [file for folder in folders for kind in kinds for file in (ROOT / folder).rglob(kind)]
    files += [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "CITATION.cff"]
    found = {
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        if file != Path(__file__).resolve() and file.is_file()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if FROM_INDEX.search(line)
    }
    assert not found
