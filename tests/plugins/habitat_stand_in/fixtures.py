"""What the tests of ``habitat`` share: the open house, something in place of the SoundSpaces engine, a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import habitat_stand_in as stand_in
from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput
from bat_agent.scene import Scene
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_soundspaces import habitat as habitat_module
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.simulator import SoundSpaces
from habitat_stand_in import house

Live = Callable[..., Any]
RATE_HZ = 32_000
NOISE = (0.5 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
TO_THE_RIGHT = (4.5, 1.5, 2.5)
"""Of the agent, who stands at (3, 0.2, 2.5) and faces −z."""


class Engine:
    """In place of the simulator ``soundspaces``: notes what it is asked."""

    sample_rate_hz = RATE_HZ

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.given, self.scenes, self.followed = name, options, [], []
        self.options = {**options, "rays": 500}

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        raise AssertionError("habitat draws its scenes itself")

    def render(self, scene: Scene) -> list[torch.Tensor]:
        self.scenes.append(scene)
        return [torch.full((2, 9), 0.5) for _ in scene.sources]

    def render_next(self, scene: Scene, previous: Scene) -> list[torch.Tensor]:
        self.followed.append((scene, previous))
        return self.render(scene)


@pytest.fixture
def real_engine() -> bool:
    """Override with True to render with the SoundSpaces engine itself."""
    return False


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch, real_engine: bool) -> list[Engine]:
    """Every engine that was loaded."""
    made: list[Engine] = []

    def load(name: str, **options: Any) -> Engine:
        made.append(Engine(name, **options))
        return made[-1]

    def check_position(mesh: Any, place: Any, what: str) -> None:
        if house.in_wardrobe(place):
            raise BadInput("in a wardrobe")
        if place[1] > (6 if place[0] < 6 else 3):
            raise BadInput("over the roof")

    def load_real(name: str, **options: Any) -> SoundSpaces:
        return SoundSpaces(SoundspacesConfig(**options))

    monkeypatch.setattr(habitat_module, "load_simulator", load_real if real_engine else load)
    if not real_engine:
        monkeypatch.setattr(habitat_module, "open_mesh", lambda path: (None, "f" * 64))
        monkeypatch.setattr(habitat_module, "check_position", check_position)
    return made


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "house.glb"
    path.write_bytes(b"glTF")
    return path


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, mesh: Path) -> Live:
    """Opens the house in the stand-in of a generation."""

    def build(generation: str = "branch", *, audio: bool = True, **options: Any) -> Any:
        module = stand_in.make_module(stand_in.GENERATIONS[generation], audio=audio)
        monkeypatch.setitem(sys.modules, "habitat_sim", module)
        return stand_in.open_house(module, mesh, **options)

    return build


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model that says which ear is louder."""
    parts = {"name": "echo", "options": {"token_dim": 8}}
    encoder, reasoner = EchoEncoder(EchoEncoderConfig(token_dim=8)), EchoReasoner(EchoReasonerConfig(token_dim=8))
    folder = tmp_path_factory.mktemp("echo")
    Bat(ModelConfig("echo", parts, parts), encoder, reasoner).save_pretrained(folder / "echo")
    return str(folder / "echo")
