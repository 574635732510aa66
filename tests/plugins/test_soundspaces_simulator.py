"""Simulator ``soundspaces``: the contract, houses and meshes, replay from JSON, heads, and what it refuses."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent_soundspaces.simulator as module
from bat_agent.errors import BadInput, PluginError
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source, point_at
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.rir_measures import interaural_level_db, reverberation_time_s
from bat_agent.testing import SimulatorContract
from bat_agent_soundspaces import hooks
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.library import find_meshes, open_mesh
from bat_agent_soundspaces.meshes import AcousticMesh, save_mesh
from bat_agent_soundspaces.simulator import SoundSpaces

needs_engine = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None or find_spec("trimesh") is None,
    reason="needs rlr-audio-propagation and trimesh (the extra soundspaces)",
)
SIZE = np.array([5.0, 3.0, 4.0])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("houses")


@pytest.fixture(scope="module")
def simulator(cache: Path) -> Iterator[SoundSpaces]:
    with SoundSpaces(SoundspacesConfig(houses=3, cache=str(cache))) as simulator:
        yield simulator


def box_mesh(*, without: str = "", material: str = "Brick") -> AcousticMesh:
    """A box of :data:`SIZE`; ``without="ceiling"`` leaves that open."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * SIZE
    walls = {"west": (0, 1, 3, 2), "east": (4, 6, 7, 5), "floor": (0, 4, 5, 1), "ceiling": (2, 3, 7, 6)}
    walls |= {"north": (0, 2, 6, 4), "south": (1, 5, 7, 3)}
    faces = [face for name, (a, b, c, d) in walls.items() if name != without for face in ((a, b, c), (a, c, d))]
    owner = np.zeros(len(faces), np.int32)
    return AcousticMesh(corners.astype(np.float32), np.array(faces, np.int32), (material,), owner, name="box")


def in_box(path: Path, **changes: Any) -> Scene:
    scene = Scene(MeshRoom(str(path)), Listener((1.5, 1.5, 1.5)), (Source((3.5, 1.2, 2.5)),))
    return replace(scene, **changes)


@needs_engine
class TestContract(SimulatorContract):
    @pytest.fixture
    def simulator(self, simulator: SoundSpaces) -> SoundSpaces:
        return simulator

    # The tests with known answers want a simulator that draws rectangular rooms; this one renders them all the same.
    def _free_field(self, simulator: Any, position: Position, heading_deg: float = 0.0, onset: Any = "physical") -> Any:
        listener = Listener((6.0, 1.5, 6.0), heading_deg)
        room = Room((12.0, 3.0, 12.0), rt60_s=None)
        return simulator.render(Scene(room, listener, (Source(point_at(listener, position)),), onset=onset))[0]


def test_listing_it_imports_neither_torch_nor_the_engine() -> None:
    script = (
        "import sys, bat_agent_soundspaces.hooks as h; h.bat_agent_simulators(); "
        "print(sorted({'torch', 'trimesh', 'rlr_audio_propagation', 'scipy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
    assert hooks.bat_agent_simulators()[0].name == "soundspaces"


def test_without_the_extra_building_it_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bat_agent_soundspaces.engine.find_spec", lambda name: None)
    with pytest.raises(PluginError, match="shoebox"):
        SoundSpaces(SoundspacesConfig())


@needs_engine
def test_the_licence_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    module._say_licence.cache_clear()
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        SoundSpaces(SoundspacesConfig())
        SoundSpaces(SoundspacesConfig())
    assert sum("CC-BY-NC" in record.getMessage() for record in caplog.records) == 1


# --- scenes ---


@needs_engine
def test_drawn_scenes_are_complete(simulator: SoundSpaces) -> None:
    """Same room, standing height above its floor, distances as asked, and everything stored that rendering needs."""
    scene = simulator.sample_scene(np.random.default_rng(3), 3)
    assert isinstance(scene.room, MeshRoom)
    assert {"mesh_sha256", "materials_sha256", "house"} <= set(scene.room.options)
    assert scene.simulator["name"] == "soundspaces"
    assert SoundspacesConfig(**scene.simulator["options"]).acoustic_options() == simulator.options
    for position in scene.positions():
        assert 0.3 <= position.distance_m <= 10.0
    assert Scene.from_json(scene.to_json()) == scene


@needs_engine
def test_replay_elsewhere_gives_the_same_bytes(simulator: SoundSpaces, tmp_path: Path) -> None:
    """Another process, another cache folder: house and RIRs are made again from the scene's JSON alone."""
    scene = simulator.sample_scene(np.random.default_rng(5), 2)
    digest = hashlib.sha256(b"".join(rir.numpy().tobytes() for rir in simulator.render(scene))).hexdigest()
    assert isinstance(scene.room, MeshRoom)
    moved = replace(scene, room=replace(scene.room, path=str(tmp_path / "not here.glb")))
    (tmp_path / "scene.json").write_text(moved.to_json())
    script = (
        "import sys, hashlib; from bat_agent.scene import Scene; "
        "from bat_agent_soundspaces.simulator import SoundSpaces; "
        "from bat_agent_soundspaces.config import SoundspacesConfig as C; "
        "s = Scene.from_json(open(sys.argv[1]).read())\n"
        "with SoundSpaces(C(**s.simulator['options'], cache=sys.argv[2])) as simulator:\n"
        "    rirs = simulator.render(s)\n"
        "print(hashlib.sha256(b''.join(r.numpy().tobytes() for r in rirs)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "scene.json"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout.strip() == digest
    assert "CC-BY-NC" in done.stderr


@needs_engine
def test_files_folders_and_patterns_name_meshes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    save_mesh(box_mesh(), tmp_path / "b.glb")
    save_mesh(box_mesh(), tmp_path / "deep" / "a.glb")
    (tmp_path / "x_semantic.ply").write_text("half of a Matterport3D scene")
    (tmp_path / "notes.txt").write_text("no mesh")
    both = [tmp_path / "b.glb", tmp_path / "deep" / "a.glb"]
    assert find_meshes(str(tmp_path)) == both
    assert find_meshes(str(tmp_path / "**" / "*.glb")) == both
    assert find_meshes(str(tmp_path / "b.glb")) == both[:1]
    with pytest.raises(BadInput, match="names no mesh"):
        find_meshes(str(tmp_path / "none"))
    with SoundSpaces(SoundspacesConfig(scenes=str(tmp_path), random_heading=True)) as simulator:
        drawn = [simulator.sample_scene(np.random.default_rng(seed)) for seed in range(8)]
    assert {Path(scene.room.path) for scene in drawn if isinstance(scene.room, MeshRoom)} == set(both)
    assert len({scene.listener.heading_deg for scene in drawn}) == 8


# --- what sounds ---


@needs_engine
def test_a_mesh_sounds_as_the_same_room_given_by_its_size(simulator: SoundSpaces, tmp_path: Path) -> None:
    """Brick box by mesh and by ``Room``: the engine draws other rays, the decay is the same within its noise."""
    save_mesh(box_mesh(), tmp_path / "box.glb")
    with SoundSpaces(SoundspacesConfig(transmission=False, depth=400)) as long:
        mesh = long.render(in_box(tmp_path / "box.glb"))[0].numpy()
        room = Room(tuple(SIZE.tolist()), None, ("Brick",))
        box = long.render(in_box(tmp_path / "box.glb", room=room))[0].numpy()
    assert reverberation_time_s(mesh) == pytest.approx(reverberation_time_s(box), rel=0.1)
    assert 10 * math.log10(np.square(mesh).sum() / np.square(box).sum()) == pytest.approx(0, abs=1.0)


@needs_engine
def test_several_sources_at_once_differ_from_each_other(simulator: SoundSpaces) -> None:
    scene = Scene(
        Room((6.0, 3.0, 5.0), 0.3), Listener((3.0, 1.5, 2.5)), (Source((5.0, 1.5, 2.5)), Source((1.0, 1.5, 2.5)))
    )
    right, left = (interaural_level_db(rir.numpy()) for rir in simulator.render(scene))
    assert right < -1 < 1 < left


@needs_engine
@pytest.mark.parametrize(("output", "channels"), [("mono", 1), ("ambisonics", 4)])
def test_other_outputs(output: Any, channels: int) -> None:
    listener = Listener((3.0, 1.5, 2.5))
    scene = Scene(Room((6.0, 3.0, 5.0), 0.3), listener, (Source((4.5, 1.5, 2.5)),), onset="direct_at_zero")
    with SoundSpaces(SoundspacesConfig(output=output)) as simulator:
        [rir] = simulator.render(scene)
        [turned] = simulator.render_next(replace(scene, listener=replace(listener, heading_deg=90.0)), scene)
    assert rir.shape[0] == channels
    assert rir.dtype == torch.float32
    assert int(rir[0].abs().argmax()) == 32
    assert torch.equal(rir, turned), "without a head, its heading changes nothing"


@needs_engine
def test_rirs_end_at_max_seconds_and_no_sources_give_none(simulator: SoundSpaces) -> None:
    scene = Scene(Room((6.0, 3.0, 5.0), 0.5), Listener((3.0, 1.5, 2.5)), (Source((4.5, 1.5, 2.5)),))
    with SoundSpaces(SoundspacesConfig(max_seconds=0.1)) as short:
        assert short.render(scene)[0].shape == (2, 3200)
    assert simulator.render(replace(scene, sources=())) == []
    assert simulator.render_next(replace(scene, sources=())) == []


@needs_engine
def test_many_scenes_by_two_processes_equal_one_by_one(simulator: SoundSpaces, cache: Path) -> None:
    scenes = [simulator.sample_scene(np.random.default_rng(i), 1 + i % 2) for i in range(5)]
    with SoundSpaces(SoundspacesConfig(houses=3, cache=str(cache), workers=2)) as two:
        together = two.render_many(scenes)
        assert len(two._pool.process_ids()) == 2
    for scene, rirs in zip(scenes, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(rirs, simulator.render(scene), strict=True))


@needs_engine
def test_a_pickled_simulator_renders_the_same(simulator: SoundSpaces) -> None:
    scene = Scene(Room((6.0, 3.0, 5.0), 0.3), Listener((3.0, 1.5, 2.5)), (Source((4.5, 1.5, 2.5)),))
    with pickle.loads(pickle.dumps(simulator)) as copy:
        assert copy.config == simulator.config
        assert torch.equal(copy.render(scene)[0], simulator.render(scene)[0])


@needs_engine
def test_a_scene_that_names_it_is_rendered_by_it(simulator: SoundSpaces) -> None:
    scene = simulator.sample_scene(np.random.default_rng(1))
    try:
        again: Any = simulator_of(scene)
    except BadInput as error:
        pytest.skip(f"not registered in this installation: {error}")
    with again:
        assert torch.equal(again.render(scene)[0], simulator.render(scene)[0])


@needs_engine
def test_drawn_rooms_sound_like_rooms(simulator: SoundSpaces) -> None:
    """Generated houses reverberate as furnished rooms do."""
    for seed in range(4):
        scene = simulator.sample_scene(np.random.default_rng(seed))
        rir = simulator.render(scene)[0].numpy()
        assert 0.1 < reverberation_time_s(rir) < 1.5


# --- what it refuses or says ---


@needs_engine
def test_a_mesh_with_holes_is_reported_once_with_its_ray_efficiency(
    simulator: SoundSpaces, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_mesh(box_mesh(), tmp_path / "closed.glb")
    save_mesh(box_mesh(without="ceiling"), tmp_path / "open.glb")
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        simulator.render(in_box(tmp_path / "closed.glb"))
        assert "holes" not in caplog.text
        for _ in range(2):
            simulator.render(in_box(tmp_path / "open.glb"))
    said = [record.getMessage() for record in caplog.records if "holes" in record.getMessage()]
    assert len(said) == 1
    assert f"ray efficiency {simulator.ray_efficiency(in_box(tmp_path / 'open.glb')):.2f}" in said[0]
    assert simulator.ray_efficiency(in_box(tmp_path / "closed.glb")) > 0.99


@needs_engine
def test_a_mesh_that_has_changed_since_is_not_rendered(tmp_path: Path) -> None:
    path = tmp_path / "box.glb"
    save_mesh(box_mesh(), path)
    with SoundSpaces(SoundspacesConfig(scenes=str(path))) as simulator:
        scene = simulator.sample_scene(np.random.default_rng(0))
        simulator.render(scene)
        save_mesh(box_mesh(material="Curtain"), path)
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 10_000_000))
        with pytest.raises(BadInput, match=r"has changed since the scene was drawn .* remove mesh_sha256"):
            simulator.render(scene)
        assert isinstance(scene.room, MeshRoom)
        forgotten = {key: value for key, value in scene.room.options.items() if key != "mesh_sha256"}
        assert simulator.render(replace(scene, room=replace(scene.room, options=forgotten)))


@needs_engine
def test_categories_without_a_material_are_named(
    simulator: SoundSpaces, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_mesh(box_mesh(material="xyzzy"), tmp_path / "odd.glb")
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        simulator.render(in_box(tmp_path / "odd.glb"))
    assert "no acoustic material fits 'xyzzy'" in caplog.text


@needs_engine
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"listener": Listener((1.5, 9.0, 1.5))}, "the listener at .* lies outside"),
        ({"sources": (Source((30.0, 1.0, 1.0)),)}, "source 0 at .* lies outside"),
        ({"sources": (Source((1.5, 1.55, 1.5)),)}, "from the centre of the head"),
        ({"sources": (Source((1.5, 1.65, 1.5)),)}, "from the centre of the head"),
        ({"room": MeshRoom("/nowhere/mesh.glb")}, "does not exist"),
        ({"room": Room((5.0, 3.0, 4.0), 0.3, ("unobtainium",))}, "unobtainium"),
    ],
)
def test_scenes_that_cannot_be_rendered(
    simulator: SoundSpaces, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_mesh(box_mesh(), tmp_path / "box.glb")
    with pytest.raises(BadInput, match=message) as error:
        simulator.render(in_box(tmp_path / "box.glb", **changes))
    assert "\n" not in str(error.value)


@needs_engine
def test_a_material_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"material table .* does not exist"):
        SoundSpaces(SoundspacesConfig(materials=str(tmp_path / "none.json")))


@needs_engine
def test_placements_stay_in_the_room_of_the_first(simulator: SoundSpaces) -> None:
    first = simulator.sample_scene(np.random.default_rng(2), 2)
    placements = simulator.sample_placements(first, np.random.default_rng(3), 4)
    mesh, _ = open_mesh(Path(first.room.path))
    region = mesh.region_at(first.listener.position_m)
    assert region is not None
    assert len({scene.listener.position_m for scene in (first, *placements)}) == 5
    for scene in placements:
        assert scene.room == first.room
        assert len(scene.sources) == 2
        points = [scene.listener.position_m, *(source.position_m for source in scene.sources)]
        assert region.contains(np.array(points)).all()
    assert simulator.sample_placements(first, np.random.default_rng(3), 4) == placements
