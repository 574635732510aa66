"""Headings that come with the sound: in a channel, in a table beside a file, in messages; and what turns with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import bat_agent
from bat_agent.errors import BadInput
from bat_agent.hearing.perception import PerceivedSource
from bat_agent.listening.blocks import Block, Notice
from bat_agent.listening.feeds import read_headings
from bat_agent.listening.intake import Intake, Sides
from bat_agent.listening.tracker import Tracker
from bat_agent.listening.websocket import WebSocketFeed, heading_of
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source, angle_between_deg
from bat_agent.scenes.moving import Track, render_step

RATE_HZ = 32_000


def test_a_heading_in_a_channel_is_read_with_the_samples_it_came_with() -> None:
    intake = Intake(Sides(heading=2))
    intake.open(RATE_HZ, 3)
    turn = np.linspace(0, 1.5, RATE_HZ, dtype=np.float32)  # three quarters of a circle to the left
    samples = np.stack([turn, turn, (turn + 1) % 2 - 1], axis=1)
    for some in np.split(samples, 20):
        intake.take(Block(some, 0.0))
    times = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(intake.headings.at(times), 270 * times, atol=0.1)
    assert intake.look_at(0.5).shape[1] == pytest.approx(RATE_HZ * 100 / 270, rel=0.05)
    intake.gap(1.0)
    assert not len(intake.headings)


def test_what_is_followed_turns_with_the_head() -> None:
    tracker = Tracker()
    source = PerceivedSource(("Siren",), 60.0, 0.0, 2.0, 0.9)
    for t_s in (0.0, 0.25):
        tracker.look([source], t_s)
    tracker.turn(35.0)
    (held,) = tracker.look([], 0.5)
    assert held.source.azimuth_deg == pytest.approx(25.0)


def test_tables_and_messages_that_say_no_heading(tmp_path: Path) -> None:
    table = tmp_path / "headings.csv"
    table.write_text("t_s,heading_deg\n0,170\n1,-170\n")
    times_s, headings_deg = read_headings(table)
    assert (times_s.tolist(), headings_deg.tolist()) == ([0, 1], [170, 190])
    for text in ("t_s,heading\n0,1\n", "t_s,heading_deg\n", "t_s,heading_deg\n1,0\n1,5\n", "t_s,heading_deg\n0,nan\n"):
        table.write_text(text)
        with pytest.raises(BadInput, match=r"headings\.csv"):
            read_headings(table)
    assert heading_of('{"heading_deg": 12.5}') == 12.5
    wrong = (
        "",
        "5",
        "[]",
        '{"heading_deg": "5"}',
        '{"heading_deg": NaN}',
        "[" * 10_000,
        f'{{"heading_deg": 1{"0" * 400}}}',
    )
    assert {heading_of(text) for text in wrong} == {None}


def test_a_message_says_where_the_head_faces(tmp_path: Path) -> None:
    client = pytest.importorskip("websockets.sync.client")
    feed = WebSocketFeed(0)
    feed.open()
    try:
        with client.connect(feed.name) as robot:
            for heading_deg in (10.0, 20.0):
                robot.send(json.dumps({"heading_deg": heading_deg}))
                robot.send(np.zeros((320, 2), "<i2").tobytes())
            found: list[Block | Notice] = []
            while sum(isinstance(item, Block) for item in found) < 2:
                found += feed.read(1.0)
    finally:
        feed.close()
    assert [item.heading_deg for item in found if isinstance(item, Block)] == [10.0, 20.0]


def test_a_file_with_its_headings_is_heard_in_the_frame_of_now(tmp_path: Path) -> None:
    """Noise behind on the right, while the head turns left by 100° in two seconds: at last it lies elsewhere."""
    import torch

    simulator, step_s, speed_deg = load_simulator("shoebox"), 0.05, 50.0
    noise = 0.1 * torch.randn(RATE_HZ, generator=torch.Generator().manual_seed(1))
    state, heard, rows = None, [], ["t_s,heading_deg", "0,0"]
    for number in range(1, 41):
        heading = speed_deg * step_s * number
        listener = Listener((4.0, 1.5, 4.0), heading)
        scene = Scene(Room((8.0, 3.0, 8.0), None), listener, (Source((5.5, 1.5, 5.0)),), seed=1)
        chunk, state = render_step(simulator, scene, [Track(noise)], round(step_s * RATE_HZ), state)
        heard.append(chunk.numpy().T)
        rows.append(f"{number * step_s:.2f},{heading}")
    soundfile.write(tmp_path / "turning.wav", np.concatenate(heard), RATE_HZ, "FLOAT")
    (tmp_path / "headings.csv").write_text("\n".join(rows))
    *_, last = bat_agent.listen(tmp_path / "turning.wav", fast=True, headings=tmp_path / "headings.csv", hop_s=0.25)
    source = last.sources[0].source
    true_deg = np.degrees(np.arctan2(-1.0, 1.5)) - 100
    assert angle_between_deg((source.azimuth_deg or 0, source.elevation_deg or 0), (true_deg, 0.0)) < 20
    assert source.region is not None
    assert "behind" in source.region
