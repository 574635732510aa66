"""The null plugin keeps the contracts, and its few promises follow from physics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.testing import EncoderContract, ReasonerContract, SimulatorContract
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig, EchoSimulatorConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner, EchoSimulator


class TestEchoEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self) -> EchoEncoder:
        return EchoEncoder(EchoEncoderConfig())


class TestEchoReasoner(ReasonerContract):
    @pytest.fixture
    def reasoner(self) -> EchoReasoner:
        return EchoReasoner(EchoReasonerConfig())


class TestEchoSimulator(SimulatorContract):
    @pytest.fixture
    def simulator(self) -> EchoSimulator:
        return EchoSimulator(EchoSimulatorConfig())


@pytest.mark.parametrize(("left", "right", "azimuth_deg"), [(0.5, 0.1, 180), (0.1, 0.5, 0), (0.3, 0.3, 90)])
def test_louder_ear_decides_the_azimuth(left: float, right: float, azimuth_deg: int) -> None:
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    encoding = EchoEncoder(EchoEncoderConfig())(torch.stack((left * noise, right * noise))[None])
    assert encoding.azimuth_logits is not None
    assert encoding.azimuth_logits.argmax().item() == azimuth_deg


def test_tokens_tell_when_it_was_loud() -> None:
    """Silence is 0 in every token; a burst at −20 dB in the left ear during the third second shows only there."""
    waveform = torch.zeros(1, 2, 5 * 32_000)
    waveform[0, 0, 2 * 32_000 : 3 * 32_000] = 0.1
    tokens = EchoEncoder(EchoEncoderConfig(token_dim=4))(waveform).tokens[0]
    wanted = torch.zeros(5, 4)
    wanted[2] = torch.tensor([0.8, 0.0, 0.8, 0.0])  # (−20 dB + 100 dB) / 100 dB, left and right by turns
    torch.testing.assert_close(tokens, wanted)


@pytest.mark.parametrize("distance_m", [0.5, 2.0, 7.5])
def test_distance_follows_the_level_convention(distance_m: float) -> None:
    rms = 1 / math.sqrt(4 * math.pi) / distance_m
    encoding = EchoEncoder(EchoEncoderConfig())(torch.full((1, 2, 3200), rms))
    assert encoding.distance_logits is not None
    assert encoding.distance_logits.argmax().item() == round(2 * distance_m)


def test_encoder_refuses_what_is_not_binaural() -> None:
    with pytest.raises(BadInput, match=r"\(batch, 2, samples\), got \(1, 1, 100\)"):
        EchoEncoder(EchoEncoderConfig())(torch.zeros(1, 1, 100))
    with pytest.raises(BadInput, match="even"):
        EchoEncoderConfig(token_dim=3)


def test_reasoner_repeats_the_question_and_counts_what_it_would_not_say() -> None:
    reasoner = EchoReasoner(EchoReasonerConfig())
    encoding = Encoding(torch.zeros(1, 3, 4))
    replies = reasoner.answer(encoding, ["Who?", "Where?"])
    assert replies == ["You asked: Who?", "You asked: Where?"]
    assert [reply.confidence for reply in replies] == [1.0, 1.0]
    assert reasoner.loss(encoding, ["Who?", "Where?"], ["You asked: Who?", "left"]).item() == 0.5
    with pytest.raises(BadInput, match="one answer per question"):
        reasoner.loss(encoding, ["Who?"], [])


@pytest.mark.parametrize(("azimuth_deg", "ears_cm"), [(0.0, (208.75, 191.25)), (180.0, (191.25, 208.75))])
def test_delay_and_level_to_each_ear(azimuth_deg: float, ears_cm: tuple[float, float]) -> None:
    """2 m to the side: the paths differ by the 17.5 cm between the ears, the levels by the 10 dB of the shadow."""
    rir = _render(Position(azimuth_deg, 0.0, 2.0))
    assert rir.abs().argmax(dim=1).tolist() == [round(cm / 34_300 * 32_000) for cm in ears_cm]
    left, right = rir.abs().amax(dim=1).tolist()
    assert left * right == pytest.approx(1 / (4 * math.pi) / 4)  # geometric mean of both ears is 0.282/d
    assert abs(20 * math.log10(left / right)) == pytest.approx(10, abs=1e-3)


def test_direct_at_zero_keeps_the_difference_between_the_ears() -> None:
    physical, at_zero = (_render(Position(20.0, 10.0, 3.0), onset).abs().argmax(1) for onset in _ONSETS)
    assert at_zero.min() == 0
    assert (at_zero - at_zero.min()).tolist() == (physical - physical.min()).tolist()


def test_sound_passes_from_the_simulator_to_the_encoder() -> None:
    """A scene of the null simulator, heard by the null encoder: sources at the side are on that side."""
    encoder = EchoEncoder(EchoEncoderConfig())
    noise = torch.randn(3200, generator=torch.Generator().manual_seed(0))
    for azimuth_deg in (0, 90, 180):
        rir = _render(Position(float(azimuth_deg), 0.0, 1.5))
        heard = torch.nn.functional.conv1d(noise[None, None], rir.flip(1)[:, None], padding=rir.shape[1] - 1)
        assert encoder(heard).azimuth_logits.argmax().item() == azimuth_deg


def test_scenes_vary_and_keep_off_the_head(rng: np.random.Generator) -> None:
    scenes = [EchoSimulator(EchoSimulatorConfig()).sample_scene(rng, 2) for _ in range(50)]
    positions = [position for scene in scenes for position in scene.positions()]
    assert min(position.distance_m for position in positions) >= 0.3
    assert len({position.region for position in positions}) == 8


_ONSETS = ("physical", "direct_at_zero")


def _render(position: Position, onset: str = "physical") -> torch.Tensor:
    listener = Listener((5.0, 1.5, 5.0))
    scene = Scene(Room((10.0, 4.0, 10.0), None), listener, (Source(point_at(listener, position)),), onset=onset)
    return EchoSimulator(EchoSimulatorConfig()).render(scene)[0]
