"""Files, pipes and sockets as sources: every sample once, in order, and sentences for what cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput
from bat_agent.listening import feeds, websocket
from bat_agent.listening.blocks import Block, Notice, Samples, SoundSource
from bat_agent.listening.feeds import FORMATS, File, Raw, Tcp
from bat_agent.listening.opening import open_file, open_source
from bat_agent.listening.simulated import ROUND_S, walk
from bat_agent.listening.websocket import WebSocketFeed

RATE_HZ = 32_000


def frames(count: int) -> np.ndarray:
    """16-bit frames that name themselves."""
    number = np.arange(1, count + 1)
    return np.stack((number % 2**15, number // 2**15 + 1), axis=1).astype("<i2")


def drain(source: SoundSource, seconds: float = 5.0) -> tuple[Samples, list[Notice]]:
    """Everything until the end, or for so long."""
    samples, notices, end_s = [np.zeros((0, 2), np.float32)], [], time.monotonic() + seconds
    while time.monotonic() < end_s and not any(notice.kind == "ended" for notice in notices):
        for item in source.read(0.05):
            if isinstance(item, Block):
                samples.append(item.samples)
            else:
                notices.append(item)
    return np.concatenate(samples), notices


def as_numbers(samples: Samples) -> np.ndarray:
    return np.rint(samples * 2**15).astype("<i2")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", frames(40_000), RATE_HZ, "PCM_16")
    return tmp_path / "a.wav"


def test_a_file_as_fast_as_possible_by_its_own_clock(wav: Path) -> None:
    source = File(wav, pace="fast")
    source.open()
    samples, (ended,) = drain(source)
    np.testing.assert_array_equal(as_numbers(samples), frames(40_000))
    assert ended.arrived_s == pytest.approx(1.25)


def test_a_file_at_its_own_pace_with_a_pause(wav: Path) -> None:
    source = File(wav, start_s=0.25)
    source.open()
    began, samples = time.monotonic(), []
    while sum(map(len, samples)) < 16_000:
        samples += [item.samples for item in source.read(1.0) if isinstance(item, Block)]
    assert time.monotonic() - began > 0.4
    source.close()
    source.open()
    rest, _ = drain(source)
    np.testing.assert_array_equal(as_numbers(np.concatenate([*samples, rest])), frames(40_000)[8_000:])


def test_a_loop_begins_again(wav: Path) -> None:
    source = File(wav, loop=True)
    source.open()
    samples, notices = drain(source, 1.6)
    assert notices == []
    np.testing.assert_array_equal(as_numbers(samples[:48_000]), np.concatenate((frames(40_000), frames(8_000))))


@pytest.mark.parametrize("form", FORMATS)
def test_raw_samples_from_a_pipe_in_odd_pieces(form: str) -> None:
    kind, full_scale = FORMATS[form]
    wanted = frames(5_000)
    data = (wanted.astype(np.float64) / 2**15 * full_scale).astype(kind).tobytes()
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb", buffering=0) as pipe:
            for begin in range(0, len(data), 1_001):
                pipe.write(data[begin : begin + 1_001])

    threading.Thread(target=write).start()
    with open(read_end, "rb", buffering=0) as pipe:
        source = Raw(pipe, form=form)  # type: ignore[arg-type]
        source.open()
        samples, (ended,) = drain(source)
    np.testing.assert_array_equal(as_numbers(samples), wanted)
    assert ended.kind == "ended"


def test_a_robot_connects_goes_and_comes_back() -> None:
    source = Tcp(0)
    source.open()
    try:
        with socket.create_connection(("127.0.0.1", source.port)) as robot:
            robot.sendall(frames(3_000).tobytes() + b"\x01")  # the rest of a frame never comes
            samples, notices = drain(source, 0.4)
        np.testing.assert_array_equal(as_numbers(samples), frames(3_000))
        _, after = drain(source, 0.4)
        with socket.create_connection(("127.0.0.1", source.port)) as robot:
            robot.sendall(frames(100).tobytes())
            samples, again = drain(source, 0.4)
        np.testing.assert_array_equal(as_numbers(samples), frames(100))
        assert [n.kind for n in (*notices, *after, *again)] == ["note", "lost", "back"]
        assert again[0].missing_s > 0.3
        with pytest.raises(BadInput, match="choose another port"):
            Tcp(source.port).open()
    finally:
        source.close()


@pytest.mark.parametrize("by", ["tcp", "ws"])
def test_a_robot_that_lost_its_power_does_not_shut_out_the_next(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never said goodbye, and for the system its connection stands: the next one was refused for two hours."""
    monkeypatch.setattr(feeds, "QUIET_S", 0.4)
    monkeypatch.setattr(websocket, "QUIET_S", 0.4)
    source: Any = Tcp(0) if by == "tcp" else WebSocketFeed(0)
    source.open()

    def robot(begin: int) -> Any:
        if by == "tcp":
            made = socket.create_connection(("127.0.0.1", source.port))
            made.sendall(frames(begin).tobytes())
            return made
        made = pytest.importorskip("websockets.sync.client").connect(source.name, close_timeout=0)
        made.send(frames(begin).tobytes())
        return made

    try:
        dead = robot(1000)
        drain(source, 0.3)
        time.sleep(0.5)
        with robot(2000):
            samples, notices = drain(source, 1.0)
        np.testing.assert_array_equal(as_numbers(samples), frames(2000))
        assert [n.kind for n in notices if n.kind != "lost"] == ["back"]
        dead.close()
    finally:
        source.close()


def test_who_sends_is_not_replaced() -> None:
    source = Tcp(0)
    source.open()
    try:
        with socket.create_connection(("127.0.0.1", source.port)) as robot:
            robot.sendall(frames(1000).tobytes())
            drain(source, 0.3)
            with socket.create_connection(("127.0.0.1", source.port)) as other:
                drain(source, 0.2)
                assert other.recv(1) == b""  # sent away
            robot.sendall(frames(3000)[1000:].tobytes())
            samples, _ = drain(source, 0.3)
        np.testing.assert_array_equal(as_numbers(samples), frames(3000)[1000:])
    finally:
        source.close()


def test_a_pause_is_no_loss() -> None:
    source = Tcp(0)
    source.open()
    port = source.port
    with socket.create_connection(("127.0.0.1", port)):
        drain(source, 0.2)
    source.close()
    time.sleep(0.5)
    source.open()
    try:
        with socket.create_connection(("127.0.0.1", port)):
            _, (back,) = drain(source, 0.3)
    finally:
        source.close()
    assert back.kind == "back"
    assert back.missing_s < 0.4


def test_a_scene_file_sounds_as_it_is_rendered(tmp_path: Path) -> None:
    """Through the same function as ``bat-agent render``: of several labels, the one that can be made up."""
    file = tmp_path / "room.yaml"
    file.write_text(
        "room: {size_m: [5, 3, 4], rt60_s: 0.3}\nlistener: {position_m: [2.5, 1.5, 2]}\n"
        "sources: [{position_m: [1, 1.5, 1.9], labels: [Dog, Siren]}]\n"
    )
    source = open_source(file, fast=True)
    source.seconds = 1.0  # type: ignore[attr-defined]
    source.open()
    samples, _ = drain(source)
    assert len(samples) == RATE_HZ
    left, right = np.square(samples).mean(axis=0)
    assert left > 1.5 * right
    with pytest.raises(BadInput, match="leave start and loop out"):
        open_file(file, loop=True)


def test_the_same_as_a_web_socket_but_no_browser_and_one_at_a_time() -> None:
    client = pytest.importorskip("websockets.sync.client")
    source = WebSocketFeed(0)
    source.open()
    try:
        with client.connect(source.name) as robot:
            for piece in np.array_split(frames(3_000), 7):
                robot.send(piece.tobytes())
            samples, notices = drain(source, 0.4)
            np.testing.assert_array_equal(as_numbers(samples), frames(3_000))
            with client.connect(source.name) as other, pytest.raises(Exception, match="somebody else is sending"):
                other.recv()
        with pytest.raises(Exception, match="403"):
            client.connect(source.name, origin="http://evil.example")
        _, after = drain(source, 0.4)
        assert [n.kind for n in (*notices, *after)] == ["note", "lost"]
    finally:
        source.close()


def heard_from_a_robot(source: WebSocketFeed) -> Samples:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{source.port}") as robot:
        robot.send(frames(100).tobytes())
        return drain(source, 1.0)[0]


def test_a_web_socket_outlives_a_lack_of_file_descriptors() -> None:
    """websockets ends its loop for good where accept fails."""
    resource = pytest.importorskip("resource")
    source = WebSocketFeed(0)
    source.open()
    before, held = resource.getrlimit(resource.RLIMIT_NOFILE), [os.dup(0)]
    try:
        with socket.socket() as somebody:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 20, before[1]))
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            somebody.connect(("127.0.0.1", source.port))
            time.sleep(0.3)
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        np.testing.assert_array_equal(as_numbers(heard_from_a_robot(source)), frames(100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        source.close()


def without_selectors(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """So often the server's thread has no file descriptor to wait with, as where somebody else has just taken them."""
    server = pytest.importorskip("websockets.sync.server")
    lacking = iter(range(times))

    def selector() -> selectors.BaseSelector:
        if next(lacking, None) is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return selectors.DefaultSelector()

    shown = SimpleNamespace(DefaultSelector=selector, EVENT_READ=selectors.EVENT_READ)
    monkeypatch.setattr(server, "selectors", shown)


def test_a_web_socket_that_finds_nothing_to_wait_with_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    without_selectors(monkeypatch, times=2)
    source = WebSocketFeed(0)
    source.open()
    np.testing.assert_array_equal(as_numbers(heard_from_a_robot(source)), frames(100))
    source.close()


def test_a_web_socket_ends_though_it_could_never_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """websockets 17.4 waits without end for a loop that has not begun."""
    without_selectors(monkeypatch, times=50)
    monkeypatch.setattr(websocket, "_END_S", 0.2)
    source = WebSocketFeed(0)
    source.open()
    source.close()
    monkeypatch.undo()


def test_of_those_that_say_nothing_to_a_web_socket_the_oldest_give_way() -> None:
    source = WebSocketFeed(0)
    source.open()
    idle = [socket.create_connection(("127.0.0.1", source.port), timeout=5.0) for _ in range(40)]
    try:
        np.testing.assert_array_equal(as_numbers(heard_from_a_robot(source)), frames(100))
        assert all(each.recv(1) == b"" for each in idle[:30])  # closed, long before their ten seconds are over
    finally:
        for each in idle:
            each.close()
        source.close()


def test_a_siren_walks_around_and_is_there_again_after_a_round() -> None:
    source = walk("Siren", pace="fast", seconds=ROUND_S)
    source.open()
    samples, (ended,) = drain(source, 60.0)
    assert len(samples) == round(ROUND_S * RATE_HZ)
    assert ended.arrived_s == pytest.approx(ROUND_S)
    quarters = samples.reshape(4, -1, 2)
    # From the right over the front to the left, and behind the back to the right.
    level = 10 * np.log10(np.square(quarters[:, : 2 * RATE_HZ]).mean(axis=1))
    assert level[0, 1] - level[0, 0] > 1.5
    assert level[2, 0] - level[2, 1] > 1.5


BAD: list[tuple[Any, str]] = [
    (lambda: open_source("no/such/file.wav"), "there is no file no/such/file.wav"),
    (lambda: open_source(__file__).open(), "cannot read .* as audio"),
    (lambda: open_source("tcp://somewhere"), "names no port"),
    (lambda: open_source("tcp://0.0.0.0:9000"), "can be reached by other machines"),
    (lambda: open_source("walk:Dragon"), "unknown sound class 'Dragon'"),
    (lambda: open_source("-", fast=True), "standard input comes at its own pace"),
    (lambda: Raw(form="u8"), "raw samples of form 'u8' are unknown: give one of s16le"),
    (lambda: Raw(sample_rate_hz=0), "raw sound has 1000 to 768000 samples a second, got a rate of 0"),
    (lambda: Tcp(0, sample_rate_hz=-1), "got a rate of -1"),
    (lambda: WebSocketFeed(0, sample_rate_hz=10**9), "got a rate of 1000000000"),
    (lambda: Raw(channels=10**6), "raw sound has 1024 channels at most"),
    (lambda: Raw(channels=1), "raw sound needs at least 2 channels"),
    (lambda: File(__file__, pace="slow"), "pace must be 'real' or 'fast'"),
    (lambda: File(__file__, pace="fast", loop=True), "never ends"),
]


@pytest.mark.parametrize(("use", "sentence"), BAD)
def test_what_cannot_be_listened_to(use: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        use()


def test_a_file_that_is_over_before_it_begins(wav: Path) -> None:
    with pytest.raises(BadInput, match=r"lasts 1\.2 s and cannot begin at 2 s"):
        File(wav, start_s=2.0).open()
