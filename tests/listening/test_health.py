"""What the samples say about the input, against made-up faults."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.listening.blocks import Block
from bat_agent.listening.health import Health, forbids_direction, level_dbfs, peak_dbfs
from bat_agent.listening.intake import Intake
from bat_agent.sound.ring import Waveform

RATE_HZ = 32_000


def noise(level: float = 0.1, seconds: float = 1.0) -> Waveform:
    rng = np.random.default_rng(0)
    return (level * rng.standard_normal((2, round(seconds * RATE_HZ)))).clip(-0.99, 0.99).astype(np.float32)


def kinds(stretch: Waveform, seconds: float = 3.0) -> set[str]:
    """What is said of an input that sounds like this for some seconds."""
    health = Health()
    notes = [health.look(stretch, 1.0 + 0.25 * n) for n in range(round(seconds / 0.25))]
    return {note.kind for note in notes[-1]}


def same(gain: float) -> Waveform:
    one = noise()[0]
    return np.stack((one, gain * one)).astype(np.float32)


def delayed(gain: float, samples: int) -> Waveform:
    """The right ear hears it later by so much, beside noise of its own."""
    one = noise()[0]
    return (np.stack((one, gain * np.roll(one, samples))) + 0.1 * noise(seconds=1.0)[::-1]).astype(np.float32)


CASES: dict[str, tuple[Waveform, set[str]]] = {
    "healthy": (noise(), set()),
    "faint": (noise(1e-5), set()),
    "silent": (np.zeros((2, RATE_HZ), np.float32), {"silent"}),
    "one microphone in stereo": (same(1.0), {"identical"}),
    "the same, one ear softer and turned over": (same(-0.4), {"identical"}),
    "right ear dead": (noise() * np.float32([[1], [0]]), {"one_sided"}),
    "left ear 40 dB down": (noise() * np.float32([[0.01], [1]]), {"one_sided"}),
    "a head": (delayed(0.6, 16), set()),
    "the right ear 5 ms late": (delayed(0.6, 160), {"out_of_step"}),
    "one ear turned over": (delayed(-0.6, 16), {"inverted"}),
    "12 dB apart": (noise() * np.float32([[0.25], [1]]), set()),
    "clipping": ((8 * noise()).clip(-1, 1), {"clipping"}),
    "offset": (noise(0.02) + np.float32([[0.0], [0.2]]), {"dc"}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_named_and_no_other(name: str) -> None:
    stretch, expected = CASES[name]
    assert kinds(stretch) == expected


def test_a_fault_is_said_only_after_a_while_and_gone_when_it_ends() -> None:
    health, dead = Health(), noise() * np.float32([[1], [0]])
    assert health.look(dead, 1.0) == []  # has begun a second ago
    assert [note.kind for note in health.look(dead, 2.0)] == ["one_sided"]
    assert health.look(noise(), 2.25) == []
    assert health.look(dead, 3.5) == []


def test_directions_are_forbidden_where_they_would_be_made_up() -> None:
    for name, (stretch, expected) in CASES.items():
        health = Health()
        health.look(stretch, 1.0)
        notes = health.look(stretch, 4.0)
        assert forbids_direction(notes) == bool(expected & {"identical", "one_sided", "out_of_step", "silent"}), name


def test_the_sentence_names_the_ear() -> None:
    health = Health()
    health.look(CASES["right ear dead"][0], 1.0)
    (note,) = health.look(CASES["right ear dead"][0], 4.0)
    assert note.text.startswith("the right ear is")
    assert note.since_s == pytest.approx(0.0)


def test_levels_are_those_of_a_sine() -> None:
    sine = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)
    ears = np.stack((sine, 0.1 * sine)).astype(np.float32)
    assert level_dbfs(ears) == pytest.approx((-9.03, -29.03), abs=0.01)
    assert peak_dbfs(ears) == pytest.approx((-6.02, -26.02), abs=0.01)
    assert level_dbfs(np.zeros((2, 100), np.float32)) == (-120.0, -120.0)


def test_one_microphone_stays_one_in_the_pauses() -> None:
    """Between two words there is dither alone, which differs; directions must not be told then."""
    health, pause = Health(), noise(1e-5)
    health.look(same(0.5), 1.0)
    assert [note.kind for note in health.look(same(0.5), 2.0)] == ["identical"]
    assert [note.kind for note in health.look(pause, 3.0)] == ["identical"]
    assert health.look(noise(), 4.0) == []


def test_clipping_is_looked_for_at_the_rate_of_the_source() -> None:
    """A second at 44.1 kHz that clips; what is heard of it is resampled, and clips nowhere."""
    intake = Intake()
    intake.open(44_100, 2)
    tone = np.sin(2 * np.pi * 997 * np.arange(44_100) / 44_100)
    intake.take(Block(np.stack((np.clip(2 * tone, -1, 1), 0.3 * tone), axis=1).astype(np.float32), 1.0))
    share = intake.clipped_share()
    assert share[0] == pytest.approx(2 / 3, abs=0.01)  # of a sine twice as high as full scale
    assert share[1] == 0
    (note,) = [note for note in Health().look(intake.window(1.0), 1.0, share) if note.kind == "clipping"]
    assert "left ear" in note.text
