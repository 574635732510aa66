"""What pip makes of us and of a stranger: a plugin that is really installed works, and the wheel lacks nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import save_file

import bat_agent
from bat_agent.agent import Bat, ModelConfig
from bat_agent.labels import labels
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "plugins.md"
MODEL = ROOT / "bat_agent" / "models" / "bat-small"
PROGRAM = "from bat_agent.cli import main; main()"
RATE_HZ = 32_000
Folders = pytest.TempPathFactory

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("hatchling", "pip"))),
    reason="building a distribution needs hatchling and pip: python -m ensurepip; pip install hatchling",
)


def python(*arguments: object, site: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, which sees the distributions in ``site`` before all others."""
    path = os.pathsep.join([*([str(site)] if site else []), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def command(*arguments: object, site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return python("-c", PROGRAM, *arguments, site=site, **variables)


def pip_install(what: Path, site: Path) -> Path:
    """Install offline from a project folder or a wheel, without what it depends on."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    done = python("-m", "pip", "install", *options, "--target", site, what)
    assert done.returncode == 0, done.stderr
    return site


# --- a stranger's plugin: the package of docs/plugins.md, installed by pip ---


def write_guide_package(folder: Path, rename: Callable[[str], str] = lambda text: text) -> Path:
    """The example of the guide as a project folder; ``rename`` changes names and texts of its files."""
    text = GUIDE.read_text(encoding="utf-8")
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    modules = re.findall(r"^```python\n# (ear_levels/\w+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    files = {"pyproject.toml": toml, "ear_levels/__init__.py": "", **dict(modules)}
    for name, content in files.items():
        file = folder / rename(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rename(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ear_levels(tmp_path_factory: Folders) -> Path:
    """The site folder into which pip has installed the plugin of the guide."""
    project = write_guide_package(tmp_path_factory.mktemp("ear-levels"))
    return pip_install(project, tmp_path_factory.mktemp("site"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder of the null components."""
    part = {"name": "echo", "options": {}}
    bat = Bat(ModelConfig("null", part, part), EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig()))
    bat.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """Weights of ``ear-levels`` worked out by hand: a dog, at 150° where the left ear is louder, else at 30°."""
    state = {
        "project.weight": torch.eye(32, 2),  # tokens 0 and 1 are the levels of left and right, in units of 100 dB
        "project.bias": torch.zeros(32),
        "classes.weight": torch.zeros(355, 32),
        "classes.bias": torch.where(torch.tensor([label == "Dog" for label in labels()]), 5.0, -5.0),
        "azimuth.weight": torch.zeros(360, 32),
        "azimuth.bias": torch.zeros(360),
    }
    state["azimuth.weight"][150, :2] = torch.tensor([200.0, -200.0])
    state["azimuth.weight"][30, :2] = torch.tensor([-200.0, 200.0])
    save_file(state, tmp_path / "taught.safetensors")
    return tmp_path / "taught.safetensors"


def write_noise(file: Path, left: float, right: float) -> Path:
    noise = np.random.default_rng(0).standard_normal((10 * RATE_HZ, 2))
    soundfile.write(file, 0.1 * noise * [left, right], RATE_HZ, subtype="FLOAT")
    return file


def test_an_installed_plugin_is_listed_with_its_origin(ear_levels: Path) -> None:
    done = command("plugins", "--json", site=ear_levels)
    assert done.returncode == 0, done.stderr
    rows = {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}
    row = rows["encoder", "ear-levels"]
    assert (row["plugin"], row["distribution"], row["version"]) == ("ear_levels", "ear-levels", "0.1.0")
    assert row["summary"] == "level at each ear, half second by half second"
    assert ("encoder", "echo") in rows  # it joins ours and hides none


@pytest.mark.parametrize(("side", "gains"), [("left", (1.0, 0.1)), ("right", (0.1, 1.0))])
def test_ask_listens_with_an_installed_encoder(
    ear_levels: Path, model: Path, taught: Path, tmp_path: Path, side: str, gains: tuple[float, float]
) -> None:
    """The null model repeats the question; only the stranger's encoder hears a dog on the louder side."""
    clip = write_noise(tmp_path / "clip.wav", *gains)
    asked = ("What do you hear?", "Is the sound on the left or on the right?")
    chosen = ("--encoder", "ear-levels", "--weights", taught, "--model", model)
    done = command("ask", clip, *asked, *chosen, "--json", site=ear_levels)
    assert done.returncode == 0, done.stderr
    said = [(answer["question"], answer["answer"].lower()) for answer in json.loads(done.stdout)]
    assert said == list(zip(asked, ("dog", side), strict=True))


def test_two_installed_plugins_with_one_name_are_refused_in_one_sentence(ear_levels: Path, tmp_path: Path) -> None:
    """Another package, ``loud_ears``, also calls its encoder ``ear-levels``; pip itself sees nothing wrong."""

    def rename(text: str) -> str:
        return text.replace('name = "ear-levels"', 'name = "loud-ears"').replace("ear_levels", "loud_ears")

    rival = pip_install(write_guide_package(tmp_path / "project", rename), tmp_path / "rival")
    both = os.pathsep.join([str(rival), str(ear_levels), *filter(None, sys.path)])
    done = command("plugins", site=rival, PYTHONPATH=both)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: encoder 'ear-levels' ")
    assert done.stderr.count("\n") == 1
    for claimant in (
        "plugin 'ear_levels' (distribution 'ear-levels' ",
        "plugin 'loud_ears' (distribution 'loud-ears' ",
    ):
        assert claimant in done.stderr
    variable, _, value = done.stderr.split()[-1].partition("=")
    assert value in ("ear_levels", "loud_ears")
    assert command("plugins", site=rival, PYTHONPATH=both, **{variable: value}).returncode == 0


# --- our own distributions ---


def test_the_sdist_holds_what_the_tests_need_and_no_file_of_a_checkout(tmp_path: Path) -> None:
    """hatchling puts .gitignore in whatever is excluded, as it reads there what to leave out."""
    done = python("-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path / "dist", site=ROOT)
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(built) as archive:
        files = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {file for file in files if file.startswith(".")} == {".gitignore"}
    needed = ("LICENSE", "SECURITY.md", "CITATION.cff", "Makefile", "requirements/dev.txt", "docs/conf.py")
    assert {*needed, "tests/conftest.py", "plugins/bat_agent_shoebox/data/NOTICE.md"} <= files


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", bat_agent.__version__)


@pytest.fixture(scope="module")
def packages() -> dict[str, Path]:
    """Import name to folder of every package that pyproject.toml lists."""
    tomllib = pytest.importorskip("tomllib", reason="tomllib needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {Path(path).name: ROOT / path for path in listed}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: Folders) -> Path:
    """The wheel of the working tree, built without network and without leaving anything in the tree."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def shipped(wheel: Path) -> dict[str, int]:
    """Every file of the wheel with its size."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def test_the_wheel_holds_the_listed_packages_and_nothing_else(
    shipped: dict[str, int], packages: dict[str, Path]
) -> None:
    top = {name.split("/")[0] for name in shipped}
    (info,) = {name for name in top if name.endswith(".dist-info")}
    assert top - {info} == set(packages)
    assert not top & {"plugins", "envs", "tests", "docs", "examples", "benchmarks"}  # folders, never packages
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= set(shipped)
    notices = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/data/NOTICE.md")}
    assert len(notices) == 3  # names of classes, head, materials
    assert {f"{info}/licenses/{notice}" for notice in notices} <= set(shipped)


def test_the_wheel_holds_every_file_of_the_packages(shipped: dict[str, int], packages: dict[str, Path]) -> None:
    """A pattern in .gitignore that also fits a folder of ours takes it out of the wheel without a word."""
    for name, folder in packages.items():
        files = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        expected = {f"{name}/{path.relative_to(folder).as_posix()}": path.stat().st_size for path in files}
        assert {file: size for file, size in shipped.items() if file.startswith(f"{name}/")} == expected


def test_the_wheel_holds_the_data(shipped: dict[str, int], packages: dict[str, Path]) -> None:
    """Named one by one, as the test above says nothing of a file that the working tree lacks too."""
    data = {
        *(f"{name}/py.typed" for name in packages),
        "bat_agent/data/class_labels_indices_subset.csv",
        "bat_agent/recipes/bat-small.yaml",
        "bat_agent_llama/data/tokenizer.json",
        "bat_agent_shoebox/data/NOTICE.md",
        "bat_agent_shoebox/data/mit_kemar_normal_32k.npz",
    }
    assert not data - set(shipped)
    assert all(shipped[name] for name in data if not name.endswith("py.typed"))


@pytest.mark.skipif(not MODEL.is_dir(), reason="bat-small has not been put into bat_agent/models")
def test_the_wheel_holds_the_model(shipped: dict[str, int]) -> None:
    parts = ("config.json", "encoder/model.safetensors", "reasoner/model.safetensors")
    assert all(shipped.get(f"bat_agent/models/bat-small/{part}") for part in parts)


def test_the_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    """Away from the repository: plugins register, and labels, recipe, head and tokenizer are read from the wheel."""
    program = """
import json, sys
from bat_agent.recipes.loading import load_recipe
from bat_agent.labels import labels
from bat_agent.registry import all_components
from bat_agent_llama.tokenizer import shipped_tokenizer
from bat_agent_shoebox.hrtf import load_head

load_head("kemar")
tokenizer = shipped_tokenizer()
files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("bat_agent")]
print(json.dumps({
    "files": sorted(filter(None, files)),
    "labels": len(labels()),
    "recipe": load_recipe("bat-small").name,
    "text": tokenizer.decode(tokenizer.encode("Where is the dog?")),
    "components": [f"{kind} {name}" for kind, found in all_components().items() for name in found],
}))
"""
    site = pip_install(wheel, tmp_path / "site")
    done = python("-c", program, site=site)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not [file for file in found["files"] if not Path(file).is_relative_to(site)]
    assert (found["labels"], found["recipe"], found["text"]) == (355, "bat-small", "Where is the dog?")
    assert {"encoder spatial-ast", "reasoner llama", "simulator shoebox"} <= set(found["components"])
