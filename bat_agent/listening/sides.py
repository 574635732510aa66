"""Which ear is which, found by two claps and kept for each device."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_json
from bat_agent.sound.ring import Waveform

CLAP_S = 0.02
"""Of a clap, what is looked at: its onset, before the room answers."""
LOUD_DB = 20.0
"""A clap stands out by so much above the rest."""
LONGEST_ITD_S = 1e-3
LEAST_ITD_S = 1e-4
LEAST_ILD_DB = 1.5


@dataclass(frozen=True)
class DeviceSides:
    """What is known of a device."""

    swap: bool
    """Its left channel is the right ear."""
    gain_db: float
    """How much louder its right ear is than the left one, as if both were swapped back."""


def judge_claps(left: Waveform, right: Waveform, rate_hz: int) -> DeviceSides:
    """What a clap on the left and one on the right (2, N each) say of the ears.

    A clap reaches the ear on its side first and louder. Raises :class:`~bat_agent.errors.BadInput` for claps that are
    too soft, in both ears the same, or from one side both.
    """
    leads = []
    levels = []
    for side, sound in (("left", left), ("right", right)):
        onset = _onset(side, sound, rate_hz)
        if np.array_equal(onset[0], onset[1]):
            raise BadInput("both ears carry the same sound, as of one microphone: use a device with two")
        leads.append(_lead_s(onset, rate_hz))
        levels.append(_apart_db(onset))
    # Apart from what is the same for both claps: microphones of different gain.
    gain_db = -(levels[0] + levels[1]) / 2
    ild_db = (levels[0] - levels[1]) / 2
    itd_s = (leads[0] - leads[1]) / 2
    if abs(itd_s) >= LEAST_ITD_S:
        swap = itd_s < 0
    elif abs(ild_db) >= LEAST_ILD_DB:
        swap = ild_db < 0
    else:
        raise BadInput(
            "both claps came from the same side, or from straight ahead: clap an arm's length to your left, then to "
            "your right"
        )
    return DeviceSides(bool(swap), round(float(-gain_db if swap else gain_db), 2))


def _onset(side: str, sound: Waveform, rate_hz: int) -> Waveform:
    if sound.ndim != 2 or sound.shape[0] != 2 or sound.shape[1] < rate_hz // 10:
        raise BadInput(f"the recording of the {side} clap is too short: wait for the words, then clap")
    loudness = np.abs(sound).max(axis=0)
    peak = int(loudness.argmax())
    rest = float(np.sqrt(np.mean(np.square(sound)))) or 1e-9
    if 20 * np.log10(max(float(loudness[peak]), 1e-9) / rest) < LOUD_DB or loudness[peak] < 1e-3:
        raise BadInput(f"no clap was heard on the {side}: clap once, louder, and keep quiet otherwise")
    begin = int(np.flatnonzero(loudness[: peak + 1] > 0.2 * loudness[peak])[0])
    margin = round(LONGEST_ITD_S * rate_hz)
    first = max(begin - 2 * margin, 0)
    return sound[:, first : first + round(CLAP_S * rate_hz) + 4 * margin].astype(np.float64)


def _lead_s(onset: Waveform, rate_hz: int) -> float:
    """By how much the left channel is ahead, seconds: where both are most alike within ±1 ms."""
    most = round(LONGEST_ITD_S * rate_hz)
    alike = np.correlate(onset[1], onset[0], "full")
    middle = onset.shape[1] - 1
    return float(alike[middle - most : middle + most + 1].argmax() - most) / rate_hz


def _apart_db(onset: Waveform) -> float:
    """How much louder the left channel is, dB."""
    power = np.square(onset).sum(axis=1) + 1e-20
    return float(10 * np.log10(power[0] / power[1]))


# --- where it is kept ---


def settings_file() -> Path:
    """``$XDG_CONFIG_HOME/bat-agent/devices.json``, by default below ``~/.config``."""
    root = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(root) / "bat-agent" / "devices.json"


def load_sides(device: str) -> DeviceSides | None:
    """What is kept of a device; raises :class:`~bat_agent.errors.BadInput` for a broken file."""
    kept = _read().get(device)
    return None if kept is None else DeviceSides(bool(kept["swap"]), float(kept["gain_db"]))


def store_sides(device: str, sides: DeviceSides) -> Path:
    """Keep what was found; returns the file."""
    file = settings_file()
    kept = {**_read(), device: asdict(sides)}
    try:
        write_json(file, kept, folder=True, durable=True)
    except BadInput as error:
        raise BadInput(f"{error}; XDG_CONFIG_HOME names another folder") from error
    return file


def _read() -> dict[str, dict[str, float]]:
    file = settings_file()
    if not file.exists():
        return {}
    try:
        kept = parse_json(file.read_text(encoding="utf-8"))
        if not all(isinstance(e["swap"], bool) and np.isfinite(e["gain_db"]) for e in kept.values()):
            raise ValueError("swap must be true or false, gain_db a number")
    except KeyError as error:
        raise BadInput(f"{file} is broken (an entry lacks {error}): delete it and calibrate again") from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{file} is broken ({' '.join(str(error).split())}): delete it and calibrate again") from error
    return dict(kept)
