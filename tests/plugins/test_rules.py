"""The reasoner `rules` against truth: scenes as logits, asked about by the question generator and as people type."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bat_agent.checkpoint import load_module, save_module
from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds, perceive
from bat_agent.hearing.posterior import hear
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import label_index, labels
from bat_agent.questions import HeardSource, QuestionType, compatible, generate, mirror
from bat_agent.questions.grammar import FROM, NAMED, OF, UNNAMED, WHERE, WORDINGS
from bat_agent.questions.records import RELEASED_TYPES
from bat_agent.scene import Position, unit_vector
from bat_agent.testing import ReasonerContract
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.parsing import parse
from bat_agent_rules.reasoner import RulesReasoner
from bat_agent_rules.vocabulary import WORDS, find_label

SURE = 40.0  # a logit that leaves nothing to its rivals
TWO_SOURCES = [*RELEASED_TYPES[2:], QuestionType.PLAIN]
ONE_SOURCE = [*RELEASED_TYPES[:2], QuestionType.PLAIN]
DOG = HeardSource(("Dog", "Bark"), Position(150.0, -20.0, 2.0))  # left, front, below
MUSIC = HeardSource(("Music",), Position(20.0, 10.0, 4.5))  # right, front, above


@pytest.fixture
def reasoner() -> RulesReasoner:
    return RulesReasoner(RulesConfig(token_dim=8))


class TestContract(ReasonerContract):
    @pytest.fixture
    def reasoner(self) -> RulesReasoner:
        return RulesReasoner(RulesConfig(token_dim=8))


class TestContractWithSlots(TestContract):
    @pytest.fixture
    def encoding(self) -> Encoding:
        return random_encoding(seed=1)


# --- from truth to logits ---


def one_hot(index: int, bins: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), bins) * SURE


def class_logits(names: Sequence[str]) -> torch.Tensor:
    logits = torch.full((355,), -SURE)
    logits[[label_index()[name] for name in names]] = SURE
    return logits


def heads(source: HeardSource) -> dict[str, torch.Tensor]:
    """The four heads for one source, each without a batch axis; bins as in training."""
    azimuth_deg, elevation_deg, distance_m = source.position
    return {
        "class_logits": class_logits(source.labels),
        "distance_logits": one_hot(round(2 * distance_m), 21),
        "azimuth_logits": one_hot(round(azimuth_deg) % 360, 360),
        "elevation_logits": one_hot(min(round(elevation_deg) + 90, 179), 180),
    }


def encode(sources: Sequence[HeardSource], slots: int = 3) -> Encoding:
    """What a perfect encoder says; without slots (0) it hears the first source. Slots are in reverse order."""
    single = {name: head[None] for name, head in heads(sources[0]).items()}
    if not slots:
        return Encoding(torch.zeros(1, 2, 4), **single)
    nothing = {"class_logits": class_logits(()), "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}
    empty = {name: torch.zeros(bins) if isinstance(bins, int) else bins for name, bins in nothing.items()}
    filled = [empty] * (slots - len(sources)) + [heads(source) for source in reversed(sources)]
    stacked = {name: torch.stack([slot[name] for slot in filled])[None] for name in empty}
    activity = torch.tensor([[-SURE] * (slots - len(sources)) + [8.0 - 2 * i for i in range(len(sources))][::-1]])
    return Encoding(torch.zeros(1, 2, 4), **single, slots=SlotEncoding(activity, **stacked))


def random_encoding(seed: int, slots: bool = True) -> Encoding:
    random = torch.Generator().manual_seed(seed)
    sizes = {"class_logits": 355, "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}

    def draw(*shape: int) -> torch.Tensor:
        return 3 * torch.randn(2, *shape, generator=random)

    several = SlotEncoding(draw(3), **{name: draw(3, bins) for name, bins in sizes.items()}) if slots else None
    return Encoding(draw(5, 8), **{name: draw(bins) for name, bins in sizes.items()}, slots=several)


def draw_sources(rng: np.random.Generator, count: int) -> list[HeardSource]:
    """Positions that the bins hold exactly, so that even distances between sources must come out right."""
    while True:
        sources = [
            HeardSource(
                tuple(rng.choice(labels(), size=rng.integers(1, 4), replace=False).tolist()),
                Position(float(rng.integers(360)), float(rng.integers(-80, 80)), float(rng.integers(1, 21)) / 2),
            )
            for _ in range(count)
        ]
        if count == 1 or compatible(*sources):
            return sources


# --- the oracle ---


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize("count", [1, 2])
def test_perfect_heads_give_the_true_answers(
    reasoner: RulesReasoner, rng: np.random.Generator, split: str, count: int
) -> None:
    """Every type and both sets of wordings: what the generator holds true, the rules find in one-hot heads."""
    wrong: list[str] = []
    kinds: Counter[str] = Counter()
    for _ in range(60):
        sources = draw_sources(rng, count)
        encoding = encode(sources, slots=3 if count == 2 else int(rng.integers(2)) * 3)
        questions = generate(sources, (ONE_SOURCE, TWO_SOURCES)[count - 1], rng, 12, split=split)
        replies = reasoner.answer(encoding, [q.text for q in questions])
        for question, reply in zip(questions, replies, strict=True):
            kinds[question.kind.split(".")[0]] += 1
            if str(reply) != question.answer:
                wrong.append(f"{question.kind}: {question.text} -> {reply}, not {question.answer}")
    assert len(kinds) == {1: 7, 2: 17}[count]
    assert len(wrong) <= 0.005 * kinds.total(), "\n".join(wrong)


@pytest.mark.parametrize(("number", "label"), list(enumerate(labels())))
def test_every_class_is_known_by_its_name(number: int, label: str) -> None:
    """In every form of naming, also shouted and without articles, the name means this class and no other."""
    for form in NAMED:
        question = f"Where is {form.format(label=label.lower())}?"
        for typed in (question, question.upper(), question.replace("the ", ""), question.replace(",", "")):
            understood = parse(typed)
            assert understood is not None, typed
            assert (understood.kind, understood.sounds) == ("locate", ((number,),)), typed


def test_no_word_of_the_grammar_names_a_sound() -> None:
    """What stands around the names must never be taken for one ("hand", "side", "recording")."""
    phrases = [text for kind in WORDINGS.values() for text in kind.train + kind.held_out]
    phrases += [text for table in (WHERE, FROM, OF) for texts in table.values() for text in texts]
    phrases += [*UNNAMED, "on your left hand side", "on the right-hand side of"]
    for phrase in phrases:
        for gap in ("{a}", "{b}", "{thing}", "{d}", "{d2}", "{of}", "{p}", "{q}", "{where}", "{where2}", "{from_}"):
            phrase = phrase.replace(gap, "0")
        words = WORDS.findall(phrase.lower())
        assert not [words[i] for i in range(len(words)) if find_label(words[i:])], phrase


# --- probabilities ---


def spread(bins: int, shares: dict[int, float]) -> torch.Tensor:
    """(1, bins) logits of a posterior with these masses."""
    probs = torch.full((bins,), 1e-12)
    for index, share in shares.items():
        probs[index] = share
    return probs.log()[None]


def test_confidence_is_the_mass_of_the_posterior(reasoner: RulesReasoner) -> None:
    """70 % of the azimuth at 170° (left, front), 20 % at 10° (right, front), 10 % at 300° (right, behind) …"""
    encoding = replace(
        encode([DOG], slots=0),
        azimuth_logits=spread(360, {170: 0.7, 10: 0.2, 300: 0.1}),
        elevation_logits=spread(180, {60: 0.8, 120: 0.2}),
        distance_logits=spread(21, {4: 0.6, 5: 0.4}),
    )
    asked = ["Left or right?", "Is it behind you?", "Is the dog below you?", "Where is the dog?", "How far is it?"]
    side, behind, below, place, far = reasoner.answer(encoding, asked)
    (there,) = reasoner.answer(encoding, ["What is on your right?"])
    assert (str(there), there.confidence) == ("bark; dog", pytest.approx(0.3))
    assert side.alternatives == (("left", pytest.approx(0.7)), ("right", pytest.approx(0.3)))
    assert (str(behind), behind.confidence) == ("No", pytest.approx(0.9))
    assert (str(below), below.confidence) == ("Yes", pytest.approx(0.8))
    assert (str(place), place.confidence) == ("left, front, below; 2m", pytest.approx(0.7 * 0.9 * 0.8 * 0.6))
    assert (str(far), far.confidence) == ("2m", pytest.approx(0.6))


def test_relations_agree_with_drawing_from_the_posteriors(reasoner: RulesReasoner, rng: np.random.Generator) -> None:
    """The shares of relation, closer and both against 20 000 draws of both positions."""
    encoding = random_slots(rng)
    clip = hear(encoding, Thresholds())[0]
    a, b = clip.find([(label_index()["Dog"],), (label_index()["Music"],)])
    points, distances = [], []
    for heard in (a, b):
        azimuth, elevation, distance = (
            rng.choice(len(probs), 20_000, p=probs / probs.sum())
            for probs in (heard.head("azimuth"), heard.head("elevation"), heard.head("distance"))
        )
        unit = np.array([unit_vector(az, el - 90.0) for az, el in zip(azimuth, elevation, strict=True)])
        points.append(distance[:, None] / 2 * unit)
        distances.append(distance)
    (xa, ya, za), (xb, yb, zb) = points[0].T, points[1].T
    closer = (distances[0] < distances[1]).mean() + 0.5 * (distances[0] == distances[1]).mean()
    drawn = {
        "Is the dog left of the music?": (xa < xb).mean(),
        "Is the dog in front of the music?": (za < zb).mean(),
        "Is the dog above the music?": (ya > yb).mean(),
        "Is the dog closer than the music?": closer,
        "Are the dog and the music both on the left?": (xa < 0).mean() * (xb < 0).mean(),
    }
    for question, share in drawn.items():
        (reply,) = reasoner.answer(encoding, [question])
        assert dict(reply.alternatives)["Yes"] == pytest.approx(share, abs=0.03), question


def random_slots(rng: np.random.Generator) -> Encoding:
    """A dog and music, each with a posterior some ten degrees and a metre wide."""
    slots = encode([DOG, MUSIC], slots=2).slots
    assert slots is not None

    def blurred(logits: torch.Tensor, width: float) -> torch.Tensor:
        apart = torch.arange(logits.shape[-1]) - logits.argmax(dim=-1, keepdim=True) + float(rng.integers(-2, 3))
        return -0.5 * (apart / width) ** 2

    blurry = replace(
        slots,
        azimuth_logits=blurred(slots.azimuth_logits, 25.0),
        elevation_logits=blurred(slots.elevation_logits, 15.0),
        distance_logits=blurred(slots.distance_logits, 3.0),
    )
    return replace(encode([DOG], slots=0), slots=blurry)


@pytest.mark.parametrize("slots", [True, False])
def test_swapped_ears_swap_left_and_right(reasoner: RulesReasoner, rng: np.random.Generator, slots: bool) -> None:
    """With whatever heads, a mirrored clip gives the mirrored answer to the mirrored question, as sure as before."""
    turned = [(180 - azimuth) % 360 for azimuth in range(360)]
    for seed in range(8):
        encoding = random_encoding(seed, slots)
        several = encoding.slots and replace(encoding.slots, azimuth_logits=encoding.slots.azimuth_logits[..., turned])
        assert encoding.azimuth_logits is not None
        swapped = replace(encoding, azimuth_logits=encoding.azimuth_logits[..., turned], slots=several)
        asked = [q.text for q in generate(draw_sources(rng, 2), TWO_SOURCES, rng, 30)]
        straight = reasoner.answer(encoding[:1], asked)
        mirrored = reasoner.answer(swapped[:1], [mirror(text) for text in asked])
        for question, one, other in zip(asked, straight, mirrored, strict=True):
            assert one.confidence is not None
            assert 0 <= one.confidence <= 1
            assert other.confidence == pytest.approx(one.confidence, abs=2e-3), question
            shares = [share for _, share in one.alternatives]
            if not shares or abs(shares[0] - shares[1]) > 4e-3:
                assert str(other) == mirror(str(one)), question


def test_single_head_and_perception_agree(reasoner: RulesReasoner) -> None:
    """Without slots, labels and distance are those of the perception."""
    encoding = random_encoding(3, slots=False)
    (first, second) = perceive(encoding, labels(), Thresholds())
    replies = reasoner.answer(encoding, ["What do you hear?", "How far is it?"] * 2)
    for perception, (heard, far) in zip((first, second), (replies[:2], replies[2:]), strict=True):
        assert set(str(heard).split("; ")) == {label.lower() for label in perception.sources[0].labels}
        assert str(far) == f"{perception.sources[0].distance_m:g}m"


def test_two_names_for_the_only_source_are_worth_a_coin(reasoner: RulesReasoner) -> None:
    """An encoder without slots cannot tell where a second source is, and does not pretend to."""
    asked = ["Is the dog left of the music?", "Is the dog closer than the music?", "How far is the dog from the music?"]
    relation, closer, apart = reasoner.answer(random_encoding(0, slots=False)[:1], asked)
    assert relation.confidence == pytest.approx(0.5)
    assert closer.confidence == pytest.approx(0.5)
    assert apart.confidence == 0.0


# --- what is missing or wrong ---


@pytest.mark.parametrize(
    ("head", "needs_it", "does_not"),
    [
        ("class", "Can you hear a dog?", "Where is it?"),
        ("class", "What do you hear?", "How far is it?"),
        ("azimuth", "Is the dog on your left?", "Is the dog below you?"),
        ("elevation", "Where is the dog?", "Is the dog on your left?"),
        ("distance", "How far is the dog?", "Can you hear a dog?"),
    ],
)
def test_a_missing_head_is_named(reasoner: RulesReasoner, head: str, needs_it: str, does_not: str) -> None:
    encoding = replace(encode([DOG], slots=0), **{f"{head}_logits": None})
    with pytest.raises(BadInput, match=f"no {head} head"):
        reasoner.answer(encoding, [needs_it])
    (reply,) = reasoner.answer(encoding, [does_not])
    assert str(reply) == {"Where is it?": "left, front, below; 2m", "How far is it?": "2m"}.get(does_not, "Yes")


def test_other_classes_than_the_355_are_refused(reasoner: RulesReasoner) -> None:
    with pytest.raises(BadInput, match=r"355 classes .* has 10"):
        reasoner.answer(Encoding(torch.zeros(1, 2, 4), class_logits=torch.zeros(1, 10)), ["Where is the dog?"])


def test_label_threshold_decides_what_is_heard() -> None:
    """A class of probability 0.3 is there from a threshold of 0.2 on, and its confidence stays what it is."""
    encoding = encode([MUSIC], slots=0)
    assert encoding.class_logits is not None
    encoding.class_logits[0, label_index()["Cat"]] = math.log(0.3 / 0.7)
    strict, lax = (RulesReasoner(RulesConfig(label=t)).answer(encoding, ["Is there a cat?"])[0] for t in (0.5, 0.2))
    assert (str(strict), strict.confidence) == ("No", pytest.approx(0.7))
    assert (str(lax), lax.confidence) == ("Yes", pytest.approx(0.3))
    with pytest.raises(BadInput, match="label must be a probability"):
        RulesConfig(label=1.5)


def test_what_is_likely_not_there_is_not_heard_if_so_asked_for() -> None:
    """A class of probability 0.1 is not heard below 0.2, in whatever question it is named; one that is there is."""
    encoding = encode([MUSIC, DOG])
    assert encoding.class_logits is not None
    encoding.class_logits[0, label_index()["Cat"]] = math.log(0.1 / 0.9)
    about = ["Where is the cat?", "How far away is the cat?", "What is left of the cat?"]
    wary, trusting = (RulesReasoner(RulesConfig(heard=share)) for share in (0.2, 0.0))
    for reply in wary.answer(encoding, about):
        assert str(reply) == "not heard"
        assert reply.confidence == pytest.approx(0.9)
    pair = ["Is the cat left of the dog?"]
    for sources in ([DOG], [MUSIC, DOG]):  # of a pair less is asked: 0.02
        for share, denied in ((0.01, True), (0.1, False)):
            clip = encode(sources)
            assert clip.class_logits is not None
            clip.class_logits[0, label_index()["Cat"]] = math.log(share / (1 - share))
            (said,) = wary.answer(clip, pair)
            assert (str(said) == "not heard") == denied
            assert denied or str(said) in ("Yes", "No")
    there = ["Where is the dog?", "Is the dog left of the music?", "What do you hear?"]
    assert [str(reply) for reply in wary.answer(encoding, there)] == [
        "left, front, below; 2m",
        "Yes",
        "bark; dog; music",
    ]
    assert "not heard" not in [str(reply) for reply in trusting.answer(encoding, about)]
    assert str(wary.answer(encoding, ["Is there a cat?"])[0]) == "No"


def test_an_inactive_slot_is_not_listed_but_found_by_name(reasoner: RulesReasoner) -> None:
    encoding = encode([MUSIC, DOG])
    assert encoding.slots is not None
    quiet = replace(encoding.slots, activity_logits=torch.tensor([[-SURE, -2.0, SURE]]))
    listed, place = reasoner.answer(replace(encoding, slots=quiet), ["What do you hear?", "Where is the dog?"])
    assert str(listed) == "music"
    assert str(place) == "left, front, below; 2m"


def test_there_is_nothing_to_train_or_to_store(reasoner: RulesReasoner, tmp_path: Path) -> None:
    encoding = encode([DOG])
    loss = reasoner.loss(encoding, ["Where is it?"], ["left"])
    loss.backward()
    assert loss.item() == 0
    assert not list(reasoner.parameters())
    with pytest.raises(BadInput, match="expected one to each"):
        reasoner.loss(encoding, ["Where is it?"], [])
    save_module(reasoner, tmp_path)
    load_module(RulesReasoner(RulesConfig()), tmp_path)
