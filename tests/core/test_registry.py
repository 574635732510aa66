"""The registry against distributions that are made up on the spot and seen by a fresh interpreter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

THIRD_PARTY = Path(__file__).parents[1] / "third_party"

HOOKS = """
from bat_agent import Component, hookimpl

@hookimpl
def {hook}():
    return [Component("{name}", "{package}.thing:Thing", "{package}.thing:Config", "made up")]
"""
THING = """
from dataclasses import dataclass, field

@dataclass
class Inner:
    low: float = 0.0
    bands: tuple[int, ...] = ()

@dataclass
class Config:
    size: int = 1
    gain: float = 1.0
    label: str = "x"
    limits: tuple[float, float] = (0.0, 1.0)
    grid: tuple[tuple[int, ...], ...] = ()
    rt60_s: float | None = 0.3
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.size < 0:
            raise ValueError("size must not be negative")

class Thing:
    def __init__(self, config):
        self.config = config

    def load_weights(self, path):
        self.loaded = path
"""
PRINT_ALL = """
import json, sys
from bat_agent import registry
found = {kind: {n: [r.plugin, r.distribution, r.version] for n, r in by_name.items()}
         for kind, by_name in registry.all_components().items()}
print(json.dumps({"found": found, "torch": "torch" in sys.modules}))
"""


class Site:
    """A folder of installed distributions; our own, which may be installed too, are switched off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = [entry.name for entry in metadata.entry_points(group="bat_agent")]

    def install(
        self,
        package: str,
        hooks: str | None = None,
        *,
        distribution: str = "",
        entry: str = "",
        name: str = "thing",
        hook: str = "bat_agent_encoders",
        thing: str = THING,
        requires: str = "",
    ) -> None:
        """Lay out what ``pip install`` would: a package and its dist-info folder."""
        home = self.folder / package
        home.mkdir(exist_ok=True)
        (home / "__init__.py").touch()
        (home / "hooks.py").write_text(hooks or HOOKS.format(hook=hook, name=name, package=package), encoding="utf-8")
        (home / "thing.py").write_text(thing, encoding="utf-8")
        self.register(distribution or f"dist-of-{package}", entry or package, f"{package}.hooks", requires)

    def register(self, distribution: str, entry: str, target: str, requires: str = "") -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2.3\n{requires}"
        (info / "METADATA").write_text(text, encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bat_agent]\n{entry} = {target}\n", encoding="utf-8")

    def python(self, *arguments: str, disable: str = "") -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.folder), *filter(None, sys.path)])
        off = ",".join(filter(None, [*self.own, disable]))
        environment = os.environ | {"PYTHONPATH": path, "BAT_AGENT_DISABLE_PLUGINS": off, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=self.folder, timeout=120
        )

    def listing(self, disable: str = "") -> dict:
        done = self.python("-c", PRINT_ALL, disable=disable)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def error(self, code: str = PRINT_ALL, disable: str = "") -> str:
        """The last line of the traceback, which must be one of our own errors."""
        done = self.python("-c", code, disable=disable)
        assert done.returncode == 1, done.stdout
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("bat_agent.errors."), done.stderr
        return line


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_components_say_where_they_come_from_and_cost_no_torch(site: Site) -> None:
    site.install("owl", name="barn-owl")
    site.install("bat_sim", name="cave", hook="bat_agent_simulators", distribution="Cave-Dist")
    listing = site.listing()
    assert listing["found"] == {
        "encoder": {"barn-owl": ["owl", "dist-of-owl", "1.2.3"]},
        "reasoner": {},
        "simulator": {"cave": ["bat_sim", "Cave-Dist", "1.2.3"]},
    }
    assert not listing["torch"]


def test_same_name_in_two_kinds_is_no_clash(site: Site) -> None:
    site.install("owl", name="echo")
    site.install("cave", name="echo", hook="bat_agent_simulators")
    found = site.listing()["found"]
    assert (list(found["encoder"]), list(found["simulator"])) == (["echo"], ["echo"])


def test_clash_names_both_claimants_and_the_way_out(site: Site) -> None:
    site.install("owl", name="hearer")
    site.install("wolf", name="hearer")
    error = site.error()
    assert "PluginError" in error
    for claimant in ("'hearer'", "'owl'", "'dist-of-owl'", "'wolf'", "'dist-of-wolf'"):
        assert claimant in error
    switched_off = error.rsplit("BAT_AGENT_DISABLE_PLUGINS=", 1)[1]
    assert switched_off in ("owl", "wolf")
    assert len(site.listing(disable=switched_off)["found"]["encoder"]) == 1, "the advice must work"


def test_clash_of_entry_points_names_both_distributions(site: Site) -> None:
    site.install("owl")
    site.register("other-owl", "owl", "owl.hooks")
    error = site.error()
    assert "'dist-of-owl'" in error
    assert "'other-owl'" in error


BROKEN = {
    "import": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def (", "SyntaxError"),
    "unknown hook": (HOOKS.format(hook="bat_agent_decoders", name="x", package="owl"), "bat_agent_decoders"),
    "unknown argument": (
        HOOKS.format(hook="bat_agent_encoders", name="x", package="owl").replace("()", "(rate)", 1),
        "rate",
    ),
    "no hook": ("def bat_agent_encoders():\n    return []\n", "implements no hook"),
    "no list": (
        "from bat_agent import hookimpl\n@hookimpl\ndef bat_agent_encoders():\n    return 'thing'\n",
        "'thing'",
    ),
    "raises": (
        "from bat_agent import hookimpl\n@hookimpl\ndef bat_agent_encoders():\n    return 1 / 0\n",
        "ZeroDivision",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_plugin_is_named_and_can_be_switched_off(site: Site, fault: str) -> None:
    hooks, cause = BROKEN[fault]
    site.install("owl", hooks)
    site.install("cave", hook="bat_agent_simulators")
    error = site.error()
    assert "PluginError" in error
    for word in ("'owl'", "'dist-of-owl'", cause):
        assert word in error
    assert list(site.listing(disable="owl")["found"]["simulator"]) == ["thing"]


def test_entry_point_must_bear_the_import_name(site: Site) -> None:
    site.install("owl", entry="nice_owl")
    error = site.error()
    assert "'nice_owl'" in error
    assert "must be named 'owl'" in error


def test_unknown_name_lists_what_exists_nearest_first(site: Site) -> None:
    site.install("owl", name="barn-owl")
    site.install("wolf", name="wolf")
    error = site.error("import bat_agent; bat_agent.load_encoder('wulf')")
    assert "BadInput" in error
    assert error.index("'wolf'") < error.index("'barn-owl'")
    hidden = site.error("import bat_agent; bat_agent.load_encoder('wolf')", disable="owl,wolf")
    assert "no encoder is installed" in hidden
    assert "wolf" in hidden.split("BAT_AGENT_DISABLE_PLUGINS=")[1]


def test_options_become_the_config(site: Site) -> None:
    site.install("owl")
    code = """
import bat_agent
options = dict(size=3, gain=2, limits=[1, 2.5], grid=[[1, 2], [3]], rt60_s=None, inner={"low": 1, "bands": [4]})
thing = bat_agent.load_encoder("thing", weights="w", **options)
print(thing.loaded, thing.config)
"""
    done = site.python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "w Config(size=3, gain=2.0, label='x', limits=(1.0, 2.5), grid=((1, 2), (3,)), rt60_s=None, "
        "inner=Inner(low=1.0, bands=(4,)))"
    )


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("sise=2", "has no option 'sise', expected one of 'size'"),
        ("size='big'", "option 'size' must be of type int, got 'big'"),
        ("size=True", "option 'size' must be of type int, got True"),
        ("gain=None", "option 'gain' must be of type float, got None"),
        ("limits=[1, 2, 3]", "option 'limits' must have 2 entries, got [1, 2, 3]"),
        ("limits=1", "option 'limits' must be of type tuple, got 1"),
        ("rt60_s='long'", "option 'rt60_s' must be of type float, got 'long'"),
        ("inner={'high': 1}", "option 'inner' has no option 'high', expected one of 'low'"),
        ("size=-1", "size must not be negative"),
    ],
)
def test_option_that_does_not_fit_is_refused(site: Site, option: str, complaint: str) -> None:
    site.install("owl")
    error = site.error(f"import bat_agent; bat_agent.load_encoder('thing', {option})")
    assert "BadInput: encoder 'thing'" in error
    assert complaint in error


def test_missing_extra_is_named(site: Site) -> None:
    thing = THING.replace("class Thing", "import night_vision\nclass Thing")
    site.install("owl", thing=thing, requires='Requires-Dist: night-vision>=2; extra == "dark"\n')
    error = site.error("import bat_agent; bat_agent.load_encoder('thing')")
    assert "PluginError: encoder 'thing' of plugin 'owl'" in error
    assert "pip install 'dist-of-owl[dark]'" in error


def test_missing_class_is_named(site: Site) -> None:
    site.install("owl", thing=THING.replace("class Thing", "class Other"))
    error = site.error("import bat_agent; bat_agent.load_encoder('thing')")
    assert "PluginError" in error
    assert "owl.thing:Thing" in error


def test_a_strangers_encoder_is_listed_and_keeps_the_contract(site: Site) -> None:
    shutil.copytree(THIRD_PARTY / "nightjar", site.folder / "nightjar")
    site.register("nightjar-hearing", "nightjar", "nightjar.hooks")
    assert site.listing()["found"]["encoder"] == {"nightjar": ["nightjar", "nightjar-hearing", "1.2.3"]}
    check = str(site.folder / "nightjar" / "check_nightjar.py")
    done = site.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-rA", check)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") >= 6


def test_a_plugin_written_against_the_old_paths_loads_and_is_told_the_new_ones(site: Site) -> None:
    shutil.copytree(THIRD_PARTY / "corncrake", site.folder / "corncrake")
    site.register("corncrake-hearing", "corncrake", "corncrake.hooks")
    assert site.listing()["torch"] is False
    program = (
        "import torch, bat_agent\n"
        "encoder = bat_agent.load_encoder('corncrake', token_dim=6).eval()\n"
        "assert isinstance(encoder, bat_agent.Encoder)\n"
        "(heard,) = encoder.heard(torch.randn(1, 2, 32_000))\n"
        "assert isinstance(heard, bat_agent.Perception)\n"
        "assert encoder.train()(torch.randn(2, 2, 32_000)).tokens.shape == (2, 1, 6)\n"
    )
    done = site.python("-W", "always::DeprecationWarning", "-c", program)
    assert done.returncode == 0, done.stderr
    told = re.findall(
        r"corncrake/encoder\.py:\d+: DeprecationWarning: (bat_agent\.\w+) is now (bat_agent\.\S+);", done.stderr
    )
    assert dict(told) == {
        "bat_agent.acoustics": "bat_agent.sound.acoustics",
        "bat_agent.features": "bat_agent.sound.features",
        "bat_agent.masking": "bat_agent.training.helpers",
        "bat_agent.perception": "bat_agent.hearing.perception",
    }, "what has not moved, such as bat_agent.interfaces, is not remarked upon"


def test_contract_catches_a_broken_encoder(site: Site) -> None:
    """The contract can fail: an encoder that looks at its neighbours and chokes on silence is caught by two tests."""
    shutil.copytree(THIRD_PARTY / "nightjar", site.folder / "nightjar")
    site.register("nightjar-hearing", "nightjar", "nightjar.hooks")
    source = site.folder / "nightjar" / "encoder.py"
    code = source.read_text(encoding="utf-8")
    broken = code.replace("torch.log(level + 1e-8)", "torch.log(level / level.sum())")
    assert broken != code
    source.write_text(broken, encoding="utf-8")
    check = str(site.folder / "nightjar" / "check_nightjar.py")
    done = site.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-rf", check)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert any("test_batch_equals_one_by_one" in line for line in failed), done.stdout
    assert any("silence" in line for line in failed), done.stdout
