"""One belief: what is perceived, tracked and answered about one sound never contradicts itself.

"Is there a siren?" was answered ``No (0.83)`` beside "Where is the siren?" ``left, front, below; 1.5m``, sure; a track
stood at "behind right" beside the answer "left, behind".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.agent import Bat
from bat_agent.ears import reasoner_options
from bat_agent.hearing.model_folder import ModelConfig, find_model, read_config
from bat_agent.hearing.perception import PerceivedSource, Thresholds
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import class_number
from bat_agent.listening import words
from bat_agent.listening.tracker import Tracker
from bat_agent.questions.answers import AXES, parse_labels, parse_location
from bat_agent_echo.config import EchoEncoderConfig
from bat_agent_echo.echo import EchoEncoder
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner

SOUNDS = ("Dog", "Siren", "Speech", "Piano")
NOTHING = "I hear nothing."


class Says(EchoEncoder):
    """An encoder that says what it is given."""

    def __init__(self) -> None:
        super().__init__(EchoEncoderConfig(token_dim=8))
        self.said: Any = None

    def forward(self, waveform: torch.Tensor) -> Encoding:
        assert isinstance(self.said, Encoding)
        return self.said


def bat() -> Bat:
    """The thresholds and curves of the model in the package, with sides that are left open below two thirds."""
    config: ModelConfig = read_config(find_model("bat-small"))
    limits = {"activity": 0.5, "label": 0.5, "heard": config.thresholds.heard, **dict.fromkeys(AXES, 0.66)}
    thresholds = Thresholds(**limits, unsure=config.thresholds.unsure)
    read = ModelConfig("one belief", config.encoder, config.reasoner, thresholds, config.calibration)
    return Bat(read, Says(), RulesReasoner(RulesConfig(**limits)))


def scene(rng: np.random.Generator, slots: int) -> Encoding:
    """Posteriors of every kind: sharp, broad, with a second peak at the mirror image; classes likely or not."""

    def drawn(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape)).float()

    classes = torch.full((slots, 355), -9.0)
    numbers = [class_number(name) for name in SOUNDS]
    classes[:, numbers] = torch.from_numpy(rng.choice([-6.0, -1.5, 0.3, 4.0], (slots, len(SOUNDS)))).float()
    azimuth = torch.stack([peaks(rng, 360) for _ in range(slots)])
    elevation = torch.stack([peaks(rng, 180) for _ in range(slots)])
    distance = 3 * drawn(slots, 21)
    activity = 2 * drawn(slots)
    heard = activity.sigmoid()[:, None] * classes.sigmoid()
    clip = (1 - (1 - heard).prod(dim=0)).clamp(1e-6, 1 - 1e-6).logit()
    several = SlotEncoding(*(part[None] for part in (activity, classes, distance, azimuth, elevation)))
    best = int(activity.argmax())
    return Encoding(drawn(1, 5, 8), clip[None], distance[[best]], azimuth[[best]], elevation[[best]], several)


def peaks(rng: np.random.Generator, bins: int) -> torch.Tensor:
    """Logits of a peak and of a second one, its image in the middle of the bins, of another weight."""
    at, share, width = rng.integers(bins), rng.uniform(0.02, 0.6), rng.choice([3.0, 10.0, 25.0])
    bin_ = np.arange(bins)
    turns = [(bin_ - where + bins / 2) % bins - bins / 2 for where in (at, bins - at)]
    probs = sum(w * np.exp(-0.5 * (turn / width) ** 2) for w, turn in zip((1 - share, share), turns, strict=True))
    return torch.from_numpy(np.log(probs + 1e-6)).float()


def listed(sources: tuple[PerceivedSource, ...], sound: str) -> list[PerceivedSource]:
    return [source for source in sources if sound in source.labels and not source.guessed]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_no_two_statements_about_one_scene_contradict(seed: int, slots: int) -> None:
    rng, ears, tracker = np.random.default_rng(seed), bat(), Tracker()
    for number in range(25):
        ears.encoder.said = scene(rng, slots)  # type: ignore[attr-defined]
        clip = 0.1 * rng.standard_normal((2, 32_000)).astype(np.float32)
        sources = ears.perceive(clip).sources
        about_all = ears.ask(clip, "What do you hear?")
        assert (about_all.text == NOTHING) == (not sources)
        for track in tracker.look(sources, number / 4):
            if track.unheard_s == 0:
                check_track(track.source, sources)
        for sound in SOUNDS if sources else ():
            check_sound(ears, clip, sound, sources, about_all)


def check_sound(ears: Bat, clip: np.ndarray, sound: str, sources: tuple[PerceivedSource, ...], about_all: Any) -> None:
    there, place, aside, depth, behind = ears.ask(
        clip,
        [f"Is there a {sound}?", f"Where is the {sound}?", f"Is the {sound} on the left or on the right?",
         f"Is the {sound} in front or behind?", f"Is the {sound} behind you?"],
    )  # fmt: skip
    named = listed(sources, sound)
    if named:
        assert there.text == "Yes"
    if there.text == "No":
        assert all(answer.text == "not heard" or not answer.sure for answer in (place, aside, depth, behind))
        assert sound.lower() not in (parse_labels(about_all.text) or ()) or not about_all.sure
    location = parse_location(place.text)
    if location is None:
        assert place.text == "not heard"
        return
    region = location[0].split(", ")
    assert not named or location[0] in {source.region for source in named}
    assert aside.text == region[0]
    assert depth.text == region[1]
    assert behind.text == ("Yes" if region[1] == "behind" else "No")
    if len(named) == 1:
        (source,) = named
        for axis, answer in (("left_right", aside), ("front_behind", depth), ("front_behind", behind)):
            if axis in source.undecided:
                assert not answer.sure
                assert answer.spoken not in AXES[axis]
        assert not (place.sure and source.undecided)
        if source.undecided and place.spoken.startswith(str(source.where)):
            assert "cannot tell" in place.spoken or source.where is not None


def check_track(track: PerceivedSource, sources: tuple[PerceivedSource, ...]) -> None:
    """The words of a track deny none of the words that some source of the same look is told with."""
    said = words.where(track).replace("front or behind", "").replace("left or right", "")
    opposite = {one: other for pair in AXES.values() for one, other in (pair, pair[::-1])}
    denied = [{opposite[word] for word in AXES_WORDS if word in said} & set(str(s.region).split(", ")) for s in sources]
    assert not all(denied)


AXES_WORDS = ("left", "right", "front", "behind")


def test_a_model_decides_alike_in_perceiving_and_answering(tmp_path: Any) -> None:
    """Thresholds of a model were not those of its reasoner, which had the defaults: a source of 0.4 was listed, and "I
    do not hear it" answered.
    """
    ears = bat()
    ears.config = replace(ears.config, thresholds=replace(ears.config.thresholds, activity=0.3, label=0.25))
    ears.config.reasoner["options"].pop("activity", None)
    ears.save_pretrained(tmp_path)
    read = read_config(tmp_path)
    assert reasoner_options(read, read.reasoner)["label"] == 0.25
    assert reasoner_options(read, {"name": "rules", "options": {"label": 0.7}})["label"] == 0.7
