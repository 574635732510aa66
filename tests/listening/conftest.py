"""The virtual microphone: a sound server of our own whose sources PortAudio sees as microphones.

Nothing of the machine's own is touched. Tests are skipped where it cannot run, unless BAT_REQUIRE_MIC=1 says that it
must.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.hearing.answers import Answer
from bat_agent.hearing.perception import PerceivedSource
from bat_agent.listening.events import Answered, HealthNote, TrackedSource, TrackState, Update

_SINK = "rate={rate} channels=2 channel_map=front-left,front-right norewinds=1"  # or a recording begins a second late
_SERVER = f"""
load-module module-native-protocol-unix socket={{run}}/native auth-anonymous=1
load-module module-null-sink sink_name=bat {_SINK.format(rate=32000)}
load-module module-null-sink sink_name=bat48 {_SINK.format(rate=48000)}
load-module module-remap-source source_name=batswap master=bat.monitor channels=2 \
master_channel_map=front-right,front-left channel_map=front-left,front-right remix=no
load-module module-remap-source source_name=batmono master=bat.monitor channels=1 channel_map=mono
set-default-sink bat
set-default-source bat.monitor
"""
_PCMS = {"batmic": "bat.monitor", "bat48": "bat48.monitor", "batswap": "batswap", "batmono": "batmono"}


def missing() -> str | None:
    """Why there can be no virtual microphone here."""
    if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
        return "needs PulseAudio (apt install pulseaudio pulseaudio-utils libasound2-plugins)"
    if ctypes.util.find_library("portaudio") is None:
        return "needs PortAudio (apt install libportaudio2)"
    if importlib.util.find_spec("sounddevice") is None:
        return "needs sounddevice (the extra listen)"
    return None


@dataclass
class VirtualMicrophone:
    """A running server; ``batmic`` and its like are its devices."""

    folder: Path

    def start(self) -> None:
        """Run it, and point this process to it."""
        run = self.folder / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "bat.pa").write_text(_SERVER.format(run=run))
        pcms = "".join(
            f'pcm.{name} {{ type pulse device "{source}" hint {{ show on description "{name}" }} }}\n'
            for name, source in _PCMS.items()
        )
        (self.folder / "asound.conf").write_text("</usr/share/alsa/alsa.conf>\n" + pcms)
        os.environ["PULSE_SERVER"] = f"unix:{run}/native"
        os.environ["ALSA_CONFIG_PATH"] = str(self.folder / "asound.conf")
        subprocess.run(
            ["pulseaudio", "-n", "-F", self.folder / "bat.pa", "--daemonize=yes", "--exit-idle-time=-1",
             "--use-pid-file=yes", f"--log-target=file:{self.folder / 'log'}"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(run), "HOME": str(self.folder)}, check=True, capture_output=True,
        )  # fmt: skip
        end_s = time.monotonic() + 10
        while subprocess.run(["pactl", "info"], capture_output=True, check=False).returncode:
            assert time.monotonic() < end_s, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self.control("exit")
        del os.environ["PULSE_SERVER"], os.environ["ALSA_CONFIG_PATH"]

    def control(self, *words: str) -> str:
        """What ``pactl`` says to this."""
        return subprocess.run(["pactl", *words], capture_output=True, text=True, check=True).stdout.strip()

    def play(self, samples: np.ndarray, sink: str = "bat", rate_hz: int = 32_000) -> subprocess.Popen[bytes]:
        """Speak (n, 2) 16-bit samples into a microphone."""
        from scipy.io import wavfile

        file = self.folder / f"{sink}-{time.monotonic_ns()}.wav"
        wavfile.write(file, rate_hz, samples)
        return subprocess.Popen(["paplay", "--latency-msec=1000", f"--device={sink}", file])

    def unplug(self, sink: str) -> None:
        """Take a microphone away."""
        for line in self.control("list", "short", "modules").splitlines():
            number, name, *rest = line.split("\t")
            if name == "module-null-sink" and f"sink_name={sink} " in " ".join(rest) + " ":
                self.control("unload-module", number)

    def plug(self, sink: str, rate_hz: int = 32_000) -> None:
        """Bring it back."""
        self.control("load-module", "module-null-sink", f"sink_name={sink}", *_SINK.format(rate=rate_hz).split())


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMicrophone]:
    """A sound server of our own, for one file of tests."""
    why = missing()
    if why and os.environ.get("BAT_REQUIRE_MIC") == "1":
        pytest.fail(f"BAT_REQUIRE_MIC=1, but this {why}")
    if why:
        pytest.skip(why)
    server = VirtualMicrophone(tmp_path_factory.mktemp("mic"))
    server.start()
    yield server
    server.stop()


class Controlled:
    """What views talk to: keeps what it was told, and answers at once."""

    source_name, model_name, hop_s = "batmic", "bat-small", 0.25

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.did: list[str] = []
        self.paused = False

    def ask(self, question: str) -> Future[Answer]:
        """Always: on the left."""
        if not question.strip():
            raise BadInput("a question is empty: ask something")
        self.asked.append(question)
        future: Future[Answer] = Future()
        future.set_result(Answer(question, "It is on the left.", 0.9))
        return future

    def pause(self) -> None:
        """Kept."""
        self.did.append("pause")
        self.paused = True

    def resume(self) -> None:
        """Kept."""
        self.did.append("resume")
        self.paused = False

    def swap(self) -> None:
        """Kept."""
        self.did.append("swap")

    def stop(self) -> None:
        """Kept."""
        self.did.append("stop")


@pytest.fixture
def control() -> Controlled:
    """What views talk to."""
    return Controlled()


@pytest.fixture
def update() -> Callable[..., Update]:
    """Makes an update: ``update(t_s, (track, label, azimuth, elevation, distance[, state]), …, **fields)``."""

    def make(t_s: float, *sources: Any, **fields: Any) -> Update:
        def tracked(
            track: int, label: str, azimuth: float | None, elevation: float | None, distance: float | None,
            state: TrackState = "steady",
        ) -> TrackedSource:  # fmt: skip
            source = PerceivedSource((label,), azimuth, elevation, distance, 0.93)
            return TrackedSource(track, state, source, 4.0, 0.5 if state == "vanishing" else 0.0)

        usual: dict[str, Any] = {
            "emitted_s": t_s + 0.1, "lag_s": 0.2, "window_s": 2.0, "dropped": 0, "lost_s": 0.0,
            "levels_dbfs": (-21.0, -28.0), "peaks_dbfs": (-8.0, -14.0),
        }  # fmt: skip
        return Update(t_s, sources=tuple(tracked(*source) for source in sources), **{**usual, **fields})

    return make


@pytest.fixture
def answered() -> Callable[..., Answered]:
    """Makes an answer."""
    return lambda question, text, sure=True: Answered(Answer(question, text, 0.9, sure=sure), 1.0)


@pytest.fixture
def noted() -> Callable[..., HealthNote]:
    """Makes a note on the input's health."""
    return lambda kind, text: HealthNote(kind, text, 1.0)
