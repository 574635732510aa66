"""The order of the house: packages import only what lies below them, plugins only what is public."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from bat_agent._moved import MOVED

ROOT = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    """A script of ``scripts/`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


architecture = load("architecture")


def test_every_import_goes_down() -> None:
    arrows = architecture.imports(architecture.modules(ROOT))
    assert architecture.broken(arrows) == []
    assert architecture.circles(arrows) == []
    assert architecture.circles(architecture.between_parts(arrows)) == []


@pytest.mark.parametrize(
    ("module", "line", "says"),
    [
        ("bat_agent/sound/audio.py", "import bat_agent.clips.mixtures", "does not lie below sound"),
        ("bat_agent/labels.py", "def f():\n    from bat_agent.hearing import perception", "does not lie below labels"),
        ("bat_agent/scenes/moving.py", "from bat_agent.hearing import perception", "does not lie below scenes"),
        ("plugins/bat_agent_rules/hooks.py", "from bat_agent.training import losses", "not among PUBLIC"),
        ("plugins/bat_agent_rules/hooks.py", "import bat_agent_echo.echo", "not among PUBLIC"),
    ],
)
def test_a_wrong_import_is_told(tmp_path: Path, module: str, line: str, says: str) -> None:
    """On a copy of the house with one line more."""
    for name, file in architecture.modules(ROOT).items():
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        assert name
    with (tmp_path / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    (said,) = architecture.broken(architecture.imports(architecture.modules(tmp_path)))
    assert says in said


def test_circles_are_found() -> None:
    assert architecture.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert architecture.circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_page_shows_the_floors_as_they_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for number, parts in enumerate(architecture.FLOORS, 1):
        shown = ", ".join(f"`{part}`" for part in parts if part not in {"data", "models", "_moved"})
        assert f"| {number} | {shown} |" in text
    for name in architecture.PUBLIC:
        assert f"`{name}`" in (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_page_names_what_is_there() -> None:
    """Every file of the walks, and every name beside its file."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`([\w/]+\.py)`", text))
    assert [file for file in files if "/" in file and not (ROOT / file).is_file()] == []
    named = re.findall(r"`(?:\w+\.)?(\w+)` \(`([\w/]+\.py)`\)", text)
    assert len(named) > 40
    for name, file in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE), f"{name} is not in {file}"


def test_the_picture_is_drawn_from_the_imports_of_now(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "architecture.py", "--draw", tmp_path / "a.svg"], check=True
    )
    assert done.returncode == 0
    assert shown(tmp_path / "a.svg")
    assert shown(tmp_path / "a.svg") == shown(ROOT / "docs" / "architecture.svg")


def shown(picture: Path) -> list[str]:
    """Boxes and arrows; where they stand differs between versions of matplotlib and their fonts."""
    return re.findall(r">([\w ]+)</text>|id=\"(\w+-to-\w+)\"", picture.read_text(encoding="utf-8"))


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_module_is_found_under_its_old_name_with_a_warning(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"bat_agent.{old}", raising=False)
    with pytest.warns(DeprecationWarning, match=rf"^bat_agent\.{old} is now bat_agent\.") as told:
        module = importlib.import_module(f"bat_agent.{old}")
    for name in MOVED[old].split():
        assert f"bat_agent.{name}" in str(told[0].message)
        new = importlib.import_module(f"bat_agent.{name}")
        assert all(getattr(module, name) is value for name, value in vars(new).items() if name[:2] != "__")


def test_what_a_third_party_imported_before_is_there_still() -> None:
    """Names as plugins written against the old paths have them."""
    wanted = {
        "features": ["log_mel", "NUM_MELS"],
        "masking": ["keep_patches", "spec_augment"],
        "perception": ["Perception", "perceive"],
        "config": ["Mixing", "Recipe", "Stage", "load_recipe"],
        "metrics": ["angular_errors_deg", "targets_from_position"],
        "sounds": ["SoundSet", "from_folder", "open_sounds"],
        "rooms": ["ReleasedRooms", "RoomBank"],
        "mixtures": ["Batch", "Mixtures", "Truth"],
        "distributed": ["clip_rand", "world_size"],
        "scene": ["Scene"],
        "interfaces": ["Encoding"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module, names in wanted.items():
            found = importlib.import_module(f"bat_agent.{module}")
            assert [name for name in names if not hasattr(found, name)] == []
