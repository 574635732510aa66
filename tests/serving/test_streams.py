"""Sounds rendered in the server for an agent elsewhere: as in one process, within limits, step by step."""

from __future__ import annotations

import socket
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bat_agent.cli import app
from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Scene, Source
from bat_agent.scenes.moving import Stream
from bat_agent.serving.streams import NoStream, Step, StreamLimits, Streams
from bat_agent_envs.client import HearingServerError
from bat_agent_envs.served_sound import HearingStream, ServedSound

RATE_HZ = 32_000
NOISE = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
RIGHT, LEFT = (2.0, 1.5, 0.0), (-2.0, 1.5, 0.0)
EARS = (0.0, 1.5, 0.0)
Rendering = Callable[..., Any]
"""The fixture ``rendering``: starts a server in this process that renders in free air; the server, and the air."""


def side(heard: dict[str, Any]) -> float:
    """The echo encoder says the louder ear: 1 right, −1 left."""
    found: float = np.cos(np.radians(heard["perceptions"][0]["sources"][0]["azimuth_deg"]))
    return found


def test_it_is_what_one_process_would_hear(rendering: Rendering, scenes: Path) -> None:
    """Sample for sample, tails and fades included, while agent and source move; by physics 0.282/d after d/343 s."""
    poses = [(EARS, 0.0, RIGHT), (EARS, 90.0, RIGHT), ((0.5, 1.5, 0.3), 90.0, LEFT), (EARS, 180.0, LEFT)]
    served, air = rendering()
    anew: Any = types.SimpleNamespace(sample_rate_hz=RATE_HZ, render=type(air)().render)
    here = Stream(anew, [torch.from_numpy(NOISE)])
    room = MeshRoom(str(scenes / "one" / "one.glb"))
    with served.client() as client, HearingStream(client, "one/one.glb", [NOISE]) as stream:
        for number, (ears, heading, place) in enumerate(poses):
            heard = stream.step(ears, heading, [place], seconds=0.1, want=["audio", "perceptions", "arrays"])
            expected = here.step(Scene(room, Listener(ears, heading), (Source(place),)), 0.1)
            np.testing.assert_array_equal(heard["audio"], expected.numpy())
            assert heard["arrays"]["direction"].shape[0] == 1
            if number == 0:
                first = round(2 / 343 * RATE_HZ)
                assert np.abs(heard["audio"][:, :first]).max() < 1e-6
                np.testing.assert_allclose(heard["audio"][1, first:], 0.141 * NOISE[: 3_200 - first], atol=1e-6)
                assert side(heard) > 0.9
        assert served.raw("GET", "/health")[2]["streams"] == 1
    assert served.raw("GET", "/health")[2]["streams"] == 0


def test_an_episode_begins_in_silence(rendering: Rendering) -> None:
    served, _ = rendering()
    with served.client() as client:
        stream = HearingStream(client, "one/one.glb", [NOISE], window_s=0.5)
        first = stream.step(EARS, 0, [RIGHT], begins=True, want=["audio"])["audio"]
        stream.step(EARS, 0, [RIGHT])
        again = stream.step(EARS, 0, [RIGHT], begins=True, want=["audio"])["audio"]
        np.testing.assert_array_equal(first, again)
        assert side(stream.step(EARS, 180, [RIGHT], begins=True)) < -0.9, "the window is of this episode alone"
        short = HearingStream(client, "one/one.glb", [NOISE])
        assert set(short.step(EARS, 0, [RIGHT], seconds=0.01, want=["audio", "perceptions"])) == {"audio"}
        assert side(short.step(EARS, 0, [RIGHT], seconds=0.05)) > 0.9


def test_a_step_whose_reply_was_lost_is_not_taken_twice(rendering: Rendering) -> None:
    served, air = rendering()
    with served.client() as client:
        stream = HearingStream(client, "one/one.glb", [NOISE])
        stream.step(EARS, 0, [RIGHT])
        second = stream.step(EARS, 90, [RIGHT], want=["audio"])["audio"]
        stream.steps -= 1
        np.testing.assert_array_equal(stream.step(EARS, 90, [RIGHT], want=["audio"])["audio"], second)
        assert len(air.rendered) == 2
        stream.steps += 3
        with pytest.raises(BadInput, match="step 3 is next in this stream, got step 6: one agent steps it"):
            stream.step(EARS, 0, [RIGHT])


def test_after_an_error_the_stream_stands_where_it_stood(rendering: Rendering) -> None:
    served, _ = rendering()
    with served.client() as client:
        broken, whole = (HearingStream(client, "one/one.glb", [NOISE]) for _ in range(2))
        for stream in (broken, whole):
            stream.step(EARS, 0, [RIGHT])
        for begins in (False, True):
            with pytest.raises(BadInput, match="over the roof"):
                broken.step((0, 4, 0), 0, [RIGHT], begins=begins)
        with pytest.raises(BadInput, match="got 2 and 1 sounds"):
            broken.step(EARS, 0, [RIGHT, LEFT])
        next_of = [stream.step(EARS, 90, [RIGHT], want=["audio"])["audio"] for stream in (broken, whole)]
        np.testing.assert_array_equal(*next_of)


@pytest.mark.parametrize(
    ("query", "shape", "sentence"),
    [
        ("scene=../secret.glb", "1,16000", "scene '../secret.glb' is no file below the folder of the server's scenes"),
        ("scene=one", "1,16000", "scene 'one' is no file below"),
        ("", "1,16000", "scene '' is no file below"),
        ("scene=" + "x" * 300, "1,16000", "is no file below"),
        ("scene=one/one.glb&up=0,1", "1,16000", "up must be three numbers, such as 1.5,0,-2, got '0,1'"),
        ("scene=one/one.glb&window_s=600", "1,16000", "window_s must lie in 0.02…10 s, got 600"),
        ("scene=one/one.glb&window_s=nan", "1,16000", "window_s must be a number, got 'nan'"),
        ("scene=one/one.glb", "16000", "dry sounds have the shape (sources, samples), mono at 32 kHz"),
        ("scene=one/one.glb", "17,1000", "at most 16 sources, got 17: leave some out"),
        ("scene=one/one.glb", "1,999", "the body holds 64000 bytes, expected 3996"),
        ("scene=one/one.glb", "4,200000000", "more than the 512 MB that the server keeps"),
    ],
)
def test_a_stream_that_cannot_be_is_told_why(rendering: Rendering, query: str, shape: str, sentence: str) -> None:
    served, _ = rendering()
    status, _, reply = served.raw("POST", f"/streams?{query}", NOISE.tobytes(), X_Bat_Shape=shape)
    assert status in (400, 422)
    assert sentence in reply["error"]
    assert served.raw("GET", "/health")[2]["streams"] == 0


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "listener must be three numbers, such as 1.5,0,-2, got ''"),
        ("listener=0,1,inf&step=1", "listener must be three numbers"),
        ("listener=0,1,2&heading_deg=north&step=1", "heading_deg must be a number, got 'north'"),
        ("listener=0,1,2&step=-1", "step must be the number of the step, counted from 1, got '-1'"),
        ("listener=0,1,2&step=1&seconds=3600", "seconds of a step must lie in 0.001…10, got 3600"),
        ("listener=0,1,2&step=1&source=1", "source must be three numbers"),
        ("listener=0,1,2&step=0", "step 1 is next in this stream, got step 0"),
        ("listener=0,1,2&step=1&source=0,1,0&want=smell", "want=smell is unknown: want perceptions, arrays, audio"),
    ],
)
def test_a_step_that_cannot_be_is_told_why(rendering: Rendering, query: str, sentence: str) -> None:
    served, air = rendering()
    with served.client() as client:
        path = HearingStream(client, "one/one.glb", [NOISE])._path
    status, _, reply = served.raw("POST", f"{path}?{query}")
    assert status in (400, 422)
    assert sentence in reply["error"]
    assert not air.rendered


def test_what_streams_cost_is_bounded_before_it_is_spent(rendering: Rendering, serve: Callable[..., Any]) -> None:
    """The shape alone is compared: of a body that would be too much nothing is read."""
    served, _ = rendering(StreamLimits(streams=2, kept_bytes=10_000_000))
    with served.client() as client:
        head = b"POST /streams?scene=one/one.glb HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer open-sesame\r\n"
        with socket.create_connection(("127.0.0.1", served.port), timeout=20.0) as connection:
            connection.sendall(head + b"X-Bat-Shape: 2,2000000\r\nContent-Length: 16000000\r\n\r\n")  # of which nothing
            assert b"more than the 10 MB that the server keeps" in connection.makefile("rb").read()
        first, _ = (HearingStream(client, "one/one.glb", [NOISE]) for _ in range(2))
        with pytest.raises(BadInput, match="2 streams are open, as many as the server takes"):
            HearingStream(client, "one/one.glb", [NOISE])
        first.close()
        HearingStream(client, "one/one.glb", [NOISE])
    with (
        serve().client() as client,
        pytest.raises(BadInput, match="renders nothing: start it as"),
    ):
        HearingStream(client, "one/one.glb", [NOISE])


def test_streams_that_nobody_steps_are_forgotten(scenes: Path, air: Any) -> None:
    now = [0.0]
    streams = Streams(scenes, air, StreamLimits(idle_s=10), clock=lambda: now[0])
    old = streams.open("one/one.glb", NOISE[None], 1.0, {})
    now[0] = 9.0
    step = Step(1, 0.1, Listener(EARS), (Source(RIGHT),), False)
    streams.step(old, step)
    now[0] = 18.0
    assert streams.step(old, step)[0].shape == (2, 3_200)
    now[0] = 28.1
    with pytest.raises(NoStream, match="in which nothing happened for 10 s is closed"):
        streams.step(old, step)
    assert len(streams) == 0


def test_the_file_is_found_by_the_end_of_any_path(scenes: Path, air: Any) -> None:
    streams = Streams(scenes, air)
    for name in ("one/one.glb", "/data/homes/one/one.glb", "data/scene_datasets/one/one.glb"):
        assert streams._file(name) == scenes / "one" / "one.glb"
    with pytest.raises(BadInput, match=r"--scenes .*nowhere is no folder"):
        Streams(scenes / "nowhere", air)


def test_the_simulator_ends_with_the_server(rendering: Rendering) -> None:
    served, air = rendering()
    served.stop()
    assert air.closed


class Habitat:
    """Of a simulator what is asked: the pose of an agent, and the stage."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, scene: str) -> None:
        self.pathfinder: Any = object()
        self.stage = types.SimpleNamespace(render_asset_handle=scene, orient_up=(0, 1, 0), orient_front=(0, 0, -1))
        self.turn = (1.0, 0.0)

    def get_stage_initialization_template(self) -> Any:
        return self.stage

    def get_agent(self, number: int) -> Any:
        w, y = self.turn
        rotation = types.SimpleNamespace(w=w, x=0.0, y=y, z=0.0)
        state = types.SimpleNamespace(position=np.array([0.0, 0.0, 0.0]), rotation=rotation)
        return [types.SimpleNamespace(get_state=lambda: state)][number]


def test_habitat_without_audio_hears_through_the_server(rendering: Rendering, scenes: Path) -> None:
    """What a task's sensors hear; another scene, a forgotten stream and a new episode included."""
    served, air = rendering()
    (scenes / "two.glb").write_bytes(b"glTF")
    episodes = iter([[RIGHT], [LEFT], [RIGHT]])
    with served.client() as client:
        sound = ServedSound([NOISE], lambda sim: next(episodes), client=client, step_s=0.1)
        sim = Habitat("data/homes/one/one.glb")
        assert sound(sim, {}).shape == (2, 3_200)
        sim.turn = (np.sqrt(0.5), np.sqrt(0.5))  # to the left: the source is behind
        behind = sound(sim, {})
        listener = air.rendered[-1].listener
        assert (listener.position_m, listener.heading_deg) == ((0.0, 1.5, 0.0), pytest.approx(90.0))
        assert np.square(behind[0, -800:]).sum() == pytest.approx(np.square(behind[1, -800:]).sum(), rel=1e-3)
        sound.begin(sim)
        sim.stage.render_asset_handle, sim.stage.orient_up, sim.stage.orient_front = "two.glb", (0, 0, 1), (0, 1, 0)
        sound(sim, {})
        room = air.rendered[-1].room
        assert isinstance(room, MeshRoom)
        assert (room.path, room.options) == (str(scenes / "two.glb"), {"up": [0, 0, 1], "front": [0, 1, 0]})
        assert air.rendered[-1].sources == (Source(LEFT),)
        assert len(served.server._streams) == 1, "the other scene's was closed"
        served.server._streams._open.clear()  # as after a long pause, or a restart
        assert sound(sim, {}).shape == (2, 3_200)
        sim.pathfinder = None
        with pytest.raises(BadInput, match="simulator is closed"):
            sound(sim, {})
        sound.close()
        assert len(served.server._streams) == 0


@pytest.mark.parametrize("sounds", [[], [np.zeros((2, 9), np.float32)], [np.zeros(9, np.int16)], [np.zeros(0)]])
def test_sounds_that_are_none_are_not_sent(sounds: Any) -> None:
    nobody: Any = types.SimpleNamespace(call=None)
    with pytest.raises(BadInput, match="must be mono float arrays"):
        HearingStream(nobody, "one/one.glb", sounds)


def test_an_unknown_stream_is_another_error(rendering: Rendering) -> None:
    served, _ = rendering()
    with served.client() as client:
        stream = HearingStream(client, "one/one.glb", [NOISE])
        stream.close()
        with pytest.raises(HearingServerError, match="no stream") as error:
            stream.step(EARS, 0, [RIGHT])
        assert error.value.status == 404


def test_options_of_the_simulator_need_scenes() -> None:
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--simulator-option", "quality=high"])
    assert isinstance(done.exception, BadInput)
    assert "--simulator-option was given without --scenes" in str(done.exception)
