"""What every encoder, reasoner and simulator must do, as pytest classes to subclass.

Each class asks for one fixture; everything else follows from the object itself. Where building the object is slow,
let the fixture return what a ``functools.cache``d function or a fixture of scope ``module`` has built. The protocols
are in :mod:`bat_agent.interfaces`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bat_agent.interfaces import (
    DIRECT_GAIN_AT_1M,
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoder,
    Encoding,
    Reasoner,
    Reply,
    Simulator,
    SlotEncoding,
)
from bat_agent.scene import STANDING_HEIGHT_M, Listener, Onset, Position, Room, Scene, Source, point_at

HEADS = {
    "class_logits": NUM_CLASSES,
    "distance_logits": NUM_DISTANCE_BINS,
    "azimuth_logits": NUM_AZIMUTH_BINS,
    "elevation_logits": NUM_ELEVATION_BINS,
}


class EncoderContract:
    """What every encoder must do; override the fixture ``encoder``."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        """The encoder to test, on the CPU."""
        raise NotImplementedError("override the fixture `encoder`: return the encoder to test")

    def test_is_a_module_with_the_attributes_of_the_protocol(self, encoder: Encoder) -> None:
        """Attributes exist and have sensible values."""
        assert isinstance(encoder, nn.Module), "an encoder is a torch.nn.Module"
        assert isinstance(encoder, Encoder), "see bat_agent.interfaces.Encoder for the attributes"
        assert isinstance(encoder.sample_rate_hz, int)
        assert encoder.sample_rate_hz > 0
        assert encoder.clip_seconds > 0
        assert isinstance(encoder.token_dim, int)
        assert isinstance(encoder.num_tokens, int)
        assert all(isinstance(label, str) for label in encoder.labels)
        assert hasattr(encoder, "save_weights") == hasattr(encoder, "load_weights"), "offer both or neither"

    def test_full_clip_gives_the_promised_shapes(self, encoder: Encoder) -> None:
        """Tokens are (B, ``num_tokens``, ``token_dim``); heads are (B, bins) or None; labels name the class logits."""
        encoding = _encode(encoder, _noise(encoder, clips=2))
        assert encoding.tokens.shape == (2, encoder.num_tokens, encoder.token_dim)
        for head, bins in HEADS.items():
            logits = getattr(encoding, head)
            assert logits is None or logits.shape == (2, bins), head
        if encoding.class_logits is not None:
            assert len(encoder.labels) == encoding.class_logits.shape[1]
        if encoding.slots is not None:
            slots = encoding.slots.activity_logits.shape[1]
            assert encoding.slots.activity_logits.shape == (2, slots)
            assert {head: getattr(encoding.slots, head).shape for head in HEADS} == {
                head: (2, slots, bins) for head, bins in HEADS.items()
            }

    @pytest.mark.parametrize("sound", ["silence", "noise", "one ear only"])
    def test_numbers_are_finite_float32(self, encoder: Encoder, sound: str) -> None:
        """No NaN and no infinity, whatever is heard."""
        waveform = _noise(encoder, clips=1)
        waveform *= torch.tensor({"silence": [0.0, 0.0], "noise": [1.0, 1.0], "one ear only": [1.0, 0.0]}[sound])[
            :, None
        ]
        for name, tensor in _tensors(_encode(encoder, waveform)).items():
            assert torch.isfinite(tensor).all(), name
            assert tensor.dtype == torch.float32, name

    def test_batch_equals_one_by_one(self, encoder: Encoder) -> None:
        """In evaluation mode no clip depends on its neighbours in the batch."""
        waveform = _noise(encoder, clips=2) * torch.tensor([1.0, 0.01])[:, None, None]
        together = _tensors(_encode(encoder, waveform))
        for clip in range(2):
            for name, alone in _tensors(_encode(encoder, waveform[clip : clip + 1])).items():
                _assert_close(alone[0], together[name][clip], name)

    def test_same_sound_gives_the_same_result_and_stays_untouched(self, encoder: Encoder) -> None:
        """In evaluation mode nothing is random, and the caller's waveform is not written to."""
        waveform = _noise(encoder, clips=1)
        before = waveform.clone()
        first, second = (_tensors(_encode(encoder, waveform)) for _ in range(2))
        for name in first:
            _assert_close(first[name], second[name], name, tolerance=1e-6)
        assert torch.equal(waveform, before)

    def test_a_shorter_clip_is_taken_where_allowed(self, encoder: Encoder) -> None:
        """An encoder with ``fixed_length = False`` takes half a clip as it is."""
        if getattr(encoder, "fixed_length", True):
            pytest.skip("this encoder takes clips of full length only")
        encoding = _encode(encoder, _noise(encoder, clips=1, share=0.5))
        assert encoding.tokens.shape[0] == 1
        assert 1 <= encoding.tokens.shape[1] <= encoder.num_tokens
        assert encoding.tokens.shape[2] == encoder.token_dim
        assert all(torch.isfinite(tensor).all() for tensor in _tensors(encoding).values())


class ReasonerContract:
    """What every reasoner must do; override the fixture ``reasoner``, and ``encoding`` where it needs a special one."""

    questions: Sequence[str] = ("What is the sound?", "Where does the sound come from?")
    """Two questions that the reasoner takes."""
    answers: Sequence[str] = ("speech", "left, front, below; 1.5m")
    """An answer to each, as in its training data."""

    @pytest.fixture
    def reasoner(self) -> Reasoner:
        """The reasoner to test, on the CPU."""
        raise NotImplementedError("override the fixture `reasoner`: return the reasoner to test")

    @pytest.fixture
    def encoding(self, reasoner: Any) -> Encoding:
        """Two clips of random tokens and heads; override it where the reasoner wants a certain number of tokens."""
        token_dim = getattr(reasoner, "token_dim", None) or getattr(
            getattr(reasoner, "config", None), "token_dim", None
        )
        assert token_dim, "the reasoner has neither token_dim nor config.token_dim: override the fixture `encoding`"
        random = torch.Generator().manual_seed(0)
        heads: dict[str, Any] = {head: torch.randn(2, bins, generator=random) for head, bins in HEADS.items()}
        return Encoding(torch.randn(2, 12, token_dim, generator=random), **heads)

    def test_is_a_module_with_the_methods_of_the_protocol(self, reasoner: Reasoner) -> None:
        """``answer`` and ``loss`` exist."""
        assert isinstance(reasoner, nn.Module), "a reasoner is a torch.nn.Module"
        assert isinstance(reasoner, Reasoner), "see bat_agent.interfaces.Reasoner for the methods"

    def test_every_question_gets_an_answer(self, reasoner: Reasoner, encoding: Encoding) -> None:
        """One clip takes any number of questions, B clips take n·B; each gets one string; none give none."""
        one, two = list(self.questions)
        assert [len(_answer(reasoner, encoding[:1], asked)) for asked in ([one], [one, two], [])] == [1, 2, 0]
        assert [len(_answer(reasoner, encoding, asked)) for asked in ([one, two], [one, two] * 2, [])] == [2, 4, 0]

    def test_questions_that_do_not_divide_among_the_clips_are_refused(
        self, reasoner: Reasoner, encoding: Encoding
    ) -> None:
        """Three questions for two clips raise a ValueError (such as BadInput) rather than guess."""
        with pytest.raises(ValueError):  # noqa: PT011 - the wording is the author's
            _answer(reasoner, encoding, [*self.questions, self.questions[0]])

    def test_batch_answers_as_one_by_one(self, reasoner: Reasoner, encoding: Encoding) -> None:
        """Questions of one clip stand next to each other, and neighbours in the batch change nothing."""
        together = _answer(reasoner, encoding, list(self.questions) * 2)
        alone = [
            _answer(reasoner, encoding[clip : clip + 1], [question])[0]
            for clip in range(2)
            for question in self.questions
        ]
        assert [str(answer) for answer in together] == [str(answer) for answer in alone]

    def test_confidence_is_a_probability(self, reasoner: Reasoner, encoding: Encoding) -> None:
        """Where the reasoner says how sure it is, the number lies in [0, 1], and alternatives come likeliest first."""
        for answer in _answer(reasoner, encoding, list(self.questions)):
            if isinstance(answer, Reply):
                assert answer.confidence is None or 0 <= answer.confidence <= 1
                shares = [share for _, share in answer.alternatives]
                assert shares == sorted(shares, reverse=True)
                assert all(0 <= share <= 1 for share in shares)

    def test_loss_is_a_scalar_that_trains_what_is_trainable(self, reasoner: Reasoner, encoding: Encoding) -> None:
        """The loss is finite, and its gradient reaches a trainable parameter where there is one."""
        module = cast("nn.Module", reasoner)
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        with _mode(module, training=True):
            module.zero_grad(set_to_none=True)
            loss = reasoner.loss(encoding, list(self.questions), list(self.answers))
            assert loss.shape == ()
            assert torch.isfinite(loss)
            if trainable:
                loss.backward()
                gradients = [parameter.grad for parameter in trainable if parameter.grad is not None]
                assert all(torch.isfinite(gradient).all() for gradient in gradients)
                assert any(gradient.abs().max() > 0 for gradient in gradients), "no trainable parameter gets a gradient"
            module.zero_grad(set_to_none=True)


class SimulatorContract:
    """What every simulator must do; override the fixture ``simulator``.

    The tests with known answers need free field, so they are skipped where the simulator draws no
    :class:`~bat_agent.scene.Room`.
    """

    @pytest.fixture
    def simulator(self) -> Simulator:
        """The simulator to test."""
        raise NotImplementedError("override the fixture `simulator`: return the simulator to test")

    @pytest.fixture
    def scene(self, simulator: Simulator) -> Scene:
        """A scene with two sources, drawn by the simulator."""
        return simulator.sample_scene(np.random.default_rng(0), 2)

    def test_has_the_attributes_of_the_protocol(self, simulator: Simulator) -> None:
        """``sample_rate_hz``, ``sample_scene`` and ``render`` exist."""
        assert isinstance(simulator, Simulator), "see bat_agent.interfaces.Simulator"
        assert isinstance(simulator.sample_rate_hz, int)
        assert simulator.sample_rate_hz > 0

    @pytest.mark.parametrize("num_sources", [1, 3])
    def test_scenes_follow_the_generator(self, simulator: Simulator, num_sources: int) -> None:
        """The same generator state gives the same scene, another gives another; the head is at standing height."""
        first, again, other = (simulator.sample_scene(np.random.default_rng(seed), num_sources) for seed in (1, 1, 2))
        assert first == again
        assert first != other
        assert len(first.sources) == num_sources
        if isinstance(first.room, Room):
            assert first.listener.position_m[1] == pytest.approx(STANDING_HEIGHT_M)
            points = [first.listener.position_m, *(source.position_m for source in first.sources)]
            assert all(map(first.room.contains, points)), "listener and sources stay inside the room"

    def test_render_gives_one_binaural_rir_per_source(self, simulator: Simulator, scene: Scene) -> None:
        """Each RIR is (2, taps), float32, finite, and not silent."""
        rirs = simulator.render(scene)
        assert len(rirs) == len(scene.sources)
        for rir in rirs:
            assert rir.ndim == 2
            assert rir.shape[0] == 2
            assert rir.dtype == torch.float32
            assert torch.isfinite(rir).all()
            assert rir.abs().amax() > 0

    def test_same_scene_gives_the_same_bytes_also_after_json(self, simulator: Simulator, scene: Scene) -> None:
        """All that is random comes from the scene, and JSON keeps all of it."""
        first = simulator.render(scene)
        torch.rand(1)  # a renderer that draws from the global generator would now differ
        for again in (simulator.render(scene), simulator.render(Scene.from_json(scene.to_json()))):
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    @pytest.mark.parametrize(("azimuth_deg", "louder"), [(0.0, 1), (180.0, 0)])
    def test_ear_on_the_side_of_the_source_is_louder(
        self, simulator: Simulator, azimuth_deg: float, louder: int
    ) -> None:
        """A source on the right is louder in channel 1, one on the left in channel 0, by 3 dB or more."""
        energy = self._free_field(simulator, Position(azimuth_deg, 0.0, 2.0)).square().sum(dim=1)
        assert energy[louder] > 2 * energy[1 - louder]

    def test_heading_turns_the_ears(self, simulator: Simulator) -> None:
        """Head and source turned by the same angle sound as before."""
        here = Position(30.0, 0.0, 2.0)
        ahead, turned = (self._free_field(simulator, here, heading_deg=heading) for heading in (0.0, 90.0))
        taps = min(ahead.shape[1], turned.shape[1])
        error = (ahead[:, :taps] - turned[:, :taps]).square().sum() / ahead.square().sum()
        assert error < 1e-3

    def test_level_falls_with_distance_by_the_convention(self, simulator: Simulator) -> None:
        """Twice as far is half as loud, and below 1 kHz, where a head hardly matters, the level is near 0.282/d."""
        gains = [self._low_gain(simulator, distance) for distance in (1.0, 2.0, 4.0)]
        assert gains[0] / gains[1] == pytest.approx(2, rel=0.1)
        assert gains[1] / gains[2] == pytest.approx(2, rel=0.1)
        assert abs(20 * math.log10(gains[1] / (DIRECT_GAIN_AT_1M / 2))) < 6, "direct sound must have the gain 0.282/d"

    @pytest.mark.parametrize(("onset", "delay_s"), [("physical", 4.0 / 343), ("direct_at_zero", 0.0)])
    def test_onset_follows_the_scene(self, simulator: Simulator, onset: Onset, delay_s: float) -> None:
        """``physical`` keeps the travel time of 4 m, ``direct_at_zero`` none; a head may add up to 2 ms."""
        rir = self._free_field(simulator, Position(90.0, 0.0, 4.0), onset=onset).abs().amax(dim=0)
        first_s = int((rir > 0.3 * rir.max()).nonzero()[0]) / simulator.sample_rate_hz
        assert delay_s - 0.0005 <= first_s <= delay_s + 0.002

    def _free_field(
        self, simulator: Simulator, position: Position, heading_deg: float = 0.0, onset: Onset = "physical"
    ) -> Tensor:
        """RIR (2, taps) of one source heard at ``position`` in free field."""
        if not isinstance(simulator.sample_scene(np.random.default_rng(0)).room, Room):
            pytest.skip("this simulator takes no rectangular rooms, so there is no free field to test in")
        listener = Listener((6.0, STANDING_HEIGHT_M, 6.0), heading_deg)
        source = Source(point_at(listener, position))
        return simulator.render(Scene(Room((12.0, 3.0, 12.0), rt60_s=None), listener, (source,), onset=onset))[0]

    def _low_gain(self, simulator: Simulator, distance_m: float) -> float:
        """RMS gain of a source in front, 200–1000 Hz, over both ears."""
        rir = self._free_field(simulator, Position(90.0, 0.0, distance_m))
        taps = max(4096, rir.shape[1])
        spectrum = torch.fft.rfft(rir.double(), n=taps).abs()
        frequency_hz = torch.fft.rfftfreq(taps, 1 / simulator.sample_rate_hz)
        low = (frequency_hz >= 200) & (frequency_hz <= 1000)
        return float(spectrum[:, low].square().mean().sqrt())


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Training or evaluation mode for a while; parts that the author froze in another mode return to it."""
    before = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        yield
    finally:
        for part, mode in before.items():
            part.training = mode


def _encode(encoder: Encoder, waveform: Tensor) -> Encoding:
    with _mode(cast("nn.Module", encoder), training=False), torch.no_grad():
        return encoder(waveform)


def _answer(reasoner: Reasoner, encoding: Encoding, questions: list[str]) -> list[str]:
    with _mode(cast("nn.Module", reasoner), training=False), torch.no_grad():
        answers = list(reasoner.answer(encoding, questions))
    assert all(isinstance(answer, str) for answer in answers)
    return answers


def _noise(encoder: Encoder, clips: int, share: float = 1.0) -> Tensor:
    """White noise (clips, 2, N) at −20 dB, N a share of the full clip."""
    samples = round(encoder.clip_seconds * encoder.sample_rate_hz * share)
    return 0.1 * torch.randn(clips, 2, samples, generator=torch.Generator().manual_seed(0))


def _tensors(encoding: Encoding | SlotEncoding) -> dict[str, Tensor]:
    """Every tensor of an encoding by name, those of the slots included."""
    found: dict[str, Tensor] = {}
    for field in dataclasses.fields(encoding):
        value = getattr(encoding, field.name)
        if isinstance(value, SlotEncoding):
            found |= {f"slots.{name}": tensor for name, tensor in _tensors(value).items()}
        elif value is not None:
            found[field.name] = value
    return found


def _assert_close(actual: Tensor, expected: Tensor, name: str, tolerance: float = 1e-4) -> None:
    """Equal to ``tolerance`` of the largest magnitude, or of 1 where all are smaller."""
    scale = max(1.0, float(expected.abs().max()))
    worst = float((actual - expected).abs().max()) / scale
    assert worst <= tolerance, f"{name} differs by {worst:.2g}, allowed {tolerance:.0e}"
