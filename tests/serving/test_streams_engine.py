"""The server renders with the SoundSpaces engine itself, in a mesh whose z is up as in habitat's data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, MeshRoom, Scene, Source
from bat_agent.scenes.moving import Stream
from bat_agent.serving.streams import Streams
from bat_agent_envs.served_sound import HearingStream

pytestmark = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None or find_spec("trimesh") is None,
    reason="needs rlr-audio-propagation and trimesh (the extra soundspaces)",
)
RATE_HZ = 32_000
NOISE = (0.1 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
EARS, RIGHT = (2.0, 1.5, -3.0), (3.5, 1.5, -3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room of 5 m × 3 m × 6 m: in the file z is up and y front, so that there z is 0…3 and y 0…6."""
    import trimesh

    folder = tmp_path_factory.mktemp("scenes")
    trimesh.creation.box(bounds=[(0, 0, 0), (5, 6, 3)]).export(folder / "laid.glb")
    trimesh.creation.box(bounds=[(0, 0, -6), (5, 3, 0)]).export(folder / "upright.glb")
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[Any]:
    simulator: Any = load_simulator("soundspaces", rays=50, depth=10, cache=str(folder / "cache"))
    yield simulator
    simulator.close()


def test_an_agent_elsewhere_hears_what_the_engine_renders(serve: Callable[..., Any], folder: Path, engine: Any) -> None:
    """Sample for sample as in one process; direct sound after d/343 s, on the right, as in an upright mesh."""
    served = serve(streams=Streams(folder, engine))
    here = Stream(engine, [torch.from_numpy(NOISE)])
    with served.client() as client:
        axes = {"up": (0, 0, 1), "front": (0, 1, 0)}
        with HearingStream(client, "laid.glb", [NOISE], **axes) as stream:  # type: ignore[arg-type]
            for heading in (0.0, 180.0):
                heard = stream.step(EARS, heading, [RIGHT], seconds=0.2, want=["audio", "perceptions"])
                sound = heard["audio"][:, -3_200:]
                louder = np.square(sound[1]).sum() / np.square(sound[0]).sum()
                assert (louder > 1) == (heading == 0.0)
                if heading == 0.0:
                    first = np.flatnonzero(np.abs(heard["audio"]).max(axis=0) > 1e-4)[0]
                    assert first == pytest.approx(1.5 / 343 * RATE_HZ, abs=40)
                    listener, sources = Listener(EARS, heading), (Source(RIGHT),)
                    turned = Scene(MeshRoom(str(folder / "laid.glb"), options=axes), listener, sources)
                    np.testing.assert_allclose(heard["audio"], here.step(turned, 0.2).numpy(), atol=1e-5)
                    upright = Scene(MeshRoom(str(folder / "upright.glb")), listener, sources)
                    same = Stream(engine, [torch.from_numpy(NOISE)]).step(upright, 0.2).numpy()
                    # Rays fall otherwise where corners differ in their last digits; the direct sound does not.
                    direct = slice(first, first + 32)
                    np.testing.assert_allclose(heard["audio"][:, direct], same[:, direct], atol=2e-3)
            with pytest.raises(BadInput, match="lies outside"):
                stream.step((2.0, 1.5, 3.0), 0, [RIGHT])
            stream.step(EARS, 90, [RIGHT])
        with HearingStream(client, "laid.glb", [NOISE]) as lying, pytest.raises(BadInput, match="lies outside"):
            lying.step(EARS, 0, [RIGHT])
