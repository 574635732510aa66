"""The microphones of a machine, through PortAudio: which there are, and which one a name means."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.extras import needed

RATES_HZ = (48_000, 44_100, 96_000, 32_000)
"""Tried in this order. Sound cards run at 48 kHz; for the 32 kHz of the ears a sound server would resample, at the cost
of 11 dB at 14 kHz (PipeWire 0.3.65) or with aliases (PulseAudio 16.1), so that is done here, by libsoxr."""
NO_MICROPHONE = "this machine has no microphone that PortAudio can see: plug one in, or start the sound server"
_LIBRARY = "apt install libportaudio2, dnf install portaudio, or brew install portaudio"


@dataclass(frozen=True)
class Device:
    """One input."""

    index: int
    """Its number now; numbers change when something is plugged in."""
    name: str
    host_api: str
    input_channels: int
    default_rate_hz: int
    rates_hz: tuple[int, ...]
    """Those of :data:`RATES_HZ` that open with two channels."""
    is_default: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**vars(self), "rates_hz": list(self.rates_hz)}


def portaudio() -> Any:
    """The module sounddevice; :class:`~bat_agent.errors.BadInput` says what to install where it cannot be used."""
    try:
        with needed("listen", "a microphone"):
            return importlib.import_module("sounddevice")
    except OSError as error:  # its C library is missing
        raise BadInput(f"microphones need the PortAudio library, which is not installed: {_LIBRARY}") from error


def refresh() -> None:
    """Let PortAudio look for devices again; it does so only when it begins. No stream may be open."""
    sound = portaudio()
    sound._terminate()
    sound._initialize()


def list_devices() -> list[Device]:
    """All inputs."""
    sound = portaudio()
    default = _default_index(sound)
    apis = [api["name"] for api in sound.query_hostapis()]
    return [
        _device(sound, index, info, apis, index == default)
        for index, info in enumerate(sound.query_devices())
        if info["max_input_channels"] > 0
    ]


def find_device(wanted: str | int | None = None) -> Device:
    """The input with a number, or whose name is or holds ``wanted`` in any case of letters; ``None``: the default.

    Raises :class:`~bat_agent.errors.BadInput` for no such device, for several, and for one with a single channel.
    """
    devices = list_devices()
    if not devices:
        raise BadInput(NO_MICROPHONE)
    chosen = _chosen(devices, wanted)
    if chosen.input_channels < 2:
        raise BadInput(
            f"{chosen.name!r} has one channel, and one ear hears no direction: choose a device with two microphones"
        )
    return chosen


def _chosen(devices: list[Device], wanted: str | int | None) -> Device:
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    name = str(wanted).strip().lower()
    exact = [device for device in devices if device.name.lower() == name]
    if isinstance(wanted, int) or (name.isdecimal() and not exact):
        for device in devices:
            if device.index == int(wanted):
                return device
        _refuse_output(int(wanted), devices)
        raise BadInput(f"no microphone has the number {wanted}: there are {_names(devices)}")
    for matches in (exact, [device for device in devices if name and name in device.name.lower()]):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise BadInput(
                f"{wanted!r} fits {len(matches)} microphones, {_names(matches)}: write more of the name, or the number"
            )
    _refuse_output(name, devices)
    near = difflib.get_close_matches(name, [device.name.lower() for device in devices], n=3, cutoff=0.4)
    nearest = [device for device in devices if device.name.lower() in near]
    hint = f"did you mean {_names(nearest)}?" if nearest else f"there are {_names(devices)}"
    raise BadInput(f"no microphone is called {wanted!r}: {hint}")


def _refuse_output(wanted: str | int, devices: list[Device]) -> None:
    """Raise where what is wanted is there, but has no input."""
    for index, info in enumerate(portaudio().query_devices()):
        if info["max_input_channels"] == 0 and wanted in (index, info["name"].lower()):
            raise BadInput(f"{info['name']!r} only plays sound and has no microphone: choose one of {_names(devices)}")


def _names(devices: list[Device]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in devices)


def _default_index(sound: Any) -> int:
    try:
        return int(sound.default.device[0])
    except (TypeError, ValueError, IndexError):
        return -1


def _device(sound: Any, index: int, info: dict[str, Any], apis: list[str], is_default: bool) -> Device:
    channels = int(info["max_input_channels"])
    rates = tuple(hz for hz in RATES_HZ if channels >= 2 and _opens(sound, index, hz))
    return Device(
        index, str(info["name"]), apis[info["hostapi"]], channels, round(info["default_samplerate"]), rates, is_default
    )


def _opens(sound: Any, index: int, rate_hz: int) -> bool:
    try:
        sound.check_input_settings(device=index, channels=2, samplerate=rate_hz, dtype="float32")
    except sound.PortAudioError:
        return False
    return True
