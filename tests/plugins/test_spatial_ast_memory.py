"""Frames that are remembered: the same numbers as without memory, of windows that overlap in any way; and fewer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.sound.features import decibel, mel_and_phase, mel_filterbank, num_frames
from bat_agent_spatial_ast.half import reads_half
from bat_agent_spatial_ast.memory import FrameMemory

SOUND = 0.1 * torch.randn(1, 2, 64_000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("hop", [8_000, 1_600, 640, 16_000])
@pytest.mark.parametrize("power", [False, True])
def test_what_is_remembered_is_what_would_be_computed(hop: int, power: bool) -> None:
    memory, filters = FrameMemory(), mel_filterbank()
    for begin in range(0, 4 * hop, hop):
        window = SOUND[:, :, begin : begin + 16_000]
        gain = torch.tensor([0.3 + begin / 10_000])
        before = memory.computed
        found = memory.features(window, gain, filters, power)
        expected = mel_and_phase(window * gain, filters, power)
        torch.testing.assert_close(decibel(found[0]), decibel(expected[0]), atol=1e-3, rtol=0)  # dB
        torch.testing.assert_close(found[1], expected[1], atol=5e-5, rtol=0)
        new = memory.computed - before
        if begin and hop < 14_000:
            assert new <= hop / 320 + 5
        else:
            assert new == num_frames(16_000)


def test_windows_that_grow_shrink_or_are_others() -> None:
    memory, filters = FrameMemory(), mel_filterbank()
    for begin, end in ((0, 8_000), (0, 16_000), (8_000, 16_000), (8_123, 16_123), (40_000, 48_000), (8_000, 24_000)):
        window = SOUND[:, :, begin:end]
        found = memory.features(window, None, filters, False)
        expected = mel_and_phase(window, filters)
        torch.testing.assert_close(decibel(found[0]), decibel(expected[0]), atol=1e-3, rtol=0)
        torch.testing.assert_close(found[1], expected[1], atol=1e-3, rtol=0)
    quiet = SOUND.clone()
    quiet[:, :, 10_000:] = 0
    for begin in (0, 8_000):  # silence after sound, and what begins alike but goes on otherwise
        for sound in (quiet, SOUND):
            found = memory.features(sound[:, :, begin : begin + 16_000], None, filters, False)
            expected = mel_and_phase(sound[:, :, begin : begin + 16_000], filters)
            torch.testing.assert_close(decibel(found[0]), decibel(expected[0]), atol=1e-3, rtol=0)


def test_a_look_says_the_same_whatever_was_looked_at_before() -> None:
    """Probabilities of bat-small, within 1e-4 of a model that remembers nothing."""
    bat, windows = bat_agent.load(), [SOUND[0, :, begin : begin + 32_000].numpy() for begin in (0, 8_000, 16_000)]
    remembered = [bat.perceive(window) for window in windows]
    for window, said in zip(windows, remembered, strict=True):
        bat.encoder._frames = FrameMemory()
        bat._last = None
        fresh = bat.perceive(window)
        values = [list(one.class_probs.values()) for one in (said, fresh)]
        np.testing.assert_allclose(values[0], values[1], atol=1e-4)
        assert [(s.labels, s.azimuth_deg, s.elevation_deg, s.distance_m) for s in said.sources] == [
            (s.labels, s.azimuth_deg, s.elevation_deg, s.distance_m) for s in fresh.sources
        ]


def test_weights_left_in_float16_say_the_same() -> None:
    """Against the float32 product, which is taken wherever gradients are wanted."""
    bat = bat_agent.load()
    encoder, window = bat.encoder, SOUND[:, :, :32_000]
    with torch.inference_mode():
        fast = encoder(window)
        assert encoder._half or not reads_half()
    with torch.enable_grad():
        plain = encoder(window)
    for name in ("activity_logits", "class_logits", "azimuth_logits", "elevation_logits", "distance_logits"):
        one, other = (getattr(said.slots, name).detach() for said in (fast, plain))
        squash = torch.sigmoid if name in ("activity_logits", "class_logits") else lambda logits: logits.softmax(-1)
        torch.testing.assert_close(squash(one), squash(other), atol=1e-5, rtol=0)
    assert set(encoder.state_dict()) == set(bat_agent.load().encoder.state_dict())
