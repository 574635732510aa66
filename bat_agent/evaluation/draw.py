"""Drawing the clips of a manifest: sounds without repetition, rooms by lot, the same for the same seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from bat_agent.clips.corpus import _SPLIT_SEED
from bat_agent.clips.excerpt import STRETCHES, Cut, first_heard
from bat_agent.datasets.layout import ReverberationFile, find_reverberations, position_of
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.datasets.sounds import Sound, SoundSet
from bat_agent.errors import BadInput
from bat_agent.evaluation.manifest import Clip, ClipSource
from bat_agent.interfaces import CLIP_SECONDS, SAMPLE_RATE_HZ
from bat_agent.questions import HeardSource, compatible
from bat_agent.recipes.schema import Recipe
from bat_agent.registry import load_simulator
from bat_agent.scene import Position, Scene
from bat_agent.sound.audio import expand

TRIES = 1000


@dataclass(frozen=True)
class Place:
    """Where a source may stand, and what :class:`ClipSource` needs to render it there."""

    position: Position
    fields: Mapping[str, Any]


class Places(Protocol):
    """Where places come from."""

    def draw(self, rng: np.random.Generator, sources: int) -> Sequence[Place]:
        """At least ``sources`` places heard by one listener in one room, in random order."""
        ...


class ReleasedPlaces:
    """A set of RIRs in the released layout; of its splits ``eval``, where there is one.

    Two sources share a clip if their RIRs lie in one scene folder, as in the released questions.
    """

    def __init__(self, root: str) -> None:
        files = find_reverberations(Path(expand(root)))
        file = next((f for f in files if f.name.startswith("eval")), files[0])
        self.root = root
        self.entries = [(item["fname"], position_of(item)) for item in ReverberationFile(file)]
        if not self.entries:
            raise BadInput(f"{file} lists no RIR, expected at least one; make a set with bat-agent dataset rirs")
        self._of_scene: dict[str, list[int]] = {}
        for number, (fname, _) in enumerate(self.entries):
            self._of_scene.setdefault(str(PurePosixPath(fname).parent), []).append(number)

    def draw(self, rng: np.random.Generator, sources: int) -> Sequence[Place]:
        """A RIR, every one equally likely; with it others of its scene."""
        first = int(rng.integers(len(self.entries)))
        if sources == 1:
            return [self._place(first)]
        others = [n for n in self._of_scene[str(PurePosixPath(self.entries[first][0]).parent)] if n != first]
        return [self._place(n) for n in (first, *rng.permutation(others).astype(int))]

    def _place(self, number: int) -> Place:
        fname, position = self.entries[number]
        return Place(position, {"rirs": self.root, "rir": fname})


class DrawnPlaces:
    """Rooms that a simulator draws; each is kept as a scene that can be rendered again."""

    def __init__(self, simulator: str, options: Mapping[str, Any]) -> None:
        self._named = {"name": simulator, "options": dict(options)}
        self._simulator = load_simulator(simulator, **options)

    def draw(self, rng: np.random.Generator, sources: int) -> Sequence[Place]:
        """A new room; four places where two sources must lie in different regions."""
        return self.places(self._simulator.sample_scene(rng, 1 if sources == 1 else 4))

    def scene(self, seed: tuple[int, int], sources: int) -> Scene:
        """The room with this number, as :func:`bat_agent.clips.room_bank.open_bank` draws it."""
        return self._simulator.sample_scene(np.random.default_rng(seed), sources)

    def places(self, scene: Scene) -> list[Place]:
        """Every source of a scene on its own."""
        named = scene.simulator or self._named
        alone = [dataclasses.replace(scene, sources=(source,), simulator=named) for source in scene.sources]
        return [Place(position, {"scene": s}) for position, s in zip(scene.positions(), alone, strict=True)]


class RecipePlaces:
    """The rooms that a recipe keeps for validation, the very scenes of its bank."""

    def __init__(self, recipe: Recipe) -> None:
        if not recipe.rooms:
            raise BadInput("the recipe names no rooms; add e.g. rooms: [{simulator: shoebox, scenes: 1000}]")
        self._recipe = recipe
        self._rooms: list[ReleasedPlaces | DrawnPlaces] = [
            ReleasedPlaces(entry.rirs) if entry.rirs else DrawnPlaces(entry.simulator, entry.options)
            for entry in recipe.rooms
        ]
        self._shares = np.array([float(entry.valid_scenes) for entry in recipe.rooms])

    def draw(self, rng: np.random.Generator, sources: int) -> Sequence[Place]:
        """One of the rooms, every one equally likely, and its places in random order."""
        number = int(rng.choice(len(self._rooms), p=self._shares / self._shares.sum()))
        entry, rooms = self._recipe.rooms[number], self._rooms[number]
        if isinstance(rooms, ReleasedPlaces):
            return rooms.draw(rng, sources)
        seed = self._recipe.seed + _SPLIT_SEED["valid"] + 1000 * number
        places = rooms.places(rooms.scene((seed, int(rng.integers(entry.valid_scenes))), entry.sources))
        return [places[n] for n in rng.permutation(len(places))]


@dataclass(frozen=True)
class Library:
    """A library of sounds and how often to draw from it."""

    spec: str
    sounds: SoundSet
    weight: float = 1.0


def open_library(spec: str, folds: Sequence[int] | None = None, weight: float = 1.0) -> Library:
    """A library of sounds by its specification, of some of its folds only where they are given."""
    sounds = open_sounds(spec)
    return Library(spec, sounds if folds is None else sounds.filter(folds=folds), weight)


def libraries_of(recipe: Recipe) -> list[Library]:
    """The sounds that a recipe keeps for validation."""
    if not recipe.sounds:
        raise BadInput("the recipe names no sounds; add e.g. sounds: [{source: procedural}]")
    return [open_library(entry.source, entry.valid_folds, entry.weight) for entry in recipe.sounds]


def draw_clips(
    libraries: Sequence[Library],
    rooms: Places,
    clips: int,
    *,
    seed: int = 0,
    two_sources: float = 0.0,
    seconds: float = CLIP_SECONDS,
    going_on: float = 0.0,
) -> Iterator[Clip]:
    """Clips that depend on the arguments alone; a library gives each of its sounds once before any a second time.

    ``two_sources`` is the share of clips with two sources, of no label in common and in different regions (BAT,
    appendix F); ``going_on`` the share of clips whose sounds began before them.
    Raises :class:`~bat_agent.errors.BadInput` where no two such sources can be found.
    """
    if clips < 1 or seconds <= 0 or not (0 <= two_sources <= 1 and 0 <= going_on <= 1):
        raise BadInput(
            f"clips and seconds must be above 0, the shares of two sources and of sounds going on in 0…1, got {clips}, "
            f"{seconds}, {two_sources}, {going_on}"
        )
    decks = [_Deck(library, np.random.default_rng((seed, 0, number))) for number, library in enumerate(libraries)]
    shares = np.array([library.weight for library in libraries])
    for number in range(clips):
        rng = np.random.default_rng((seed, 1, number))
        wanted = 2 if rng.random() < two_sources else 1
        deck = decks[int(rng.choice(len(decks), p=shares / shares.sum()))]
        found = _sources(deck, rooms, wanted, rng)
        # Lots of its own, so that the share changes where sounds begin and nothing else.
        began = np.random.default_rng((seed, 2, number))
        goes_on = began.random() < going_on
        begins = [_begin_s(sound, seconds, began) if goes_on else None for sound, _ in found]
        sources = tuple(
            ClipSource(sound.labels, place.position, deck.library.spec, sound.id, begin_s=begin_s, **place.fields)
            for (sound, place), begin_s in zip(found, begins, strict=True)
        )
        yield Clip(f"{number:06d}", sources, seconds, seed)


class _Deck:
    """A library as a pack of cards: shuffled, dealt to the end, shuffled again."""

    def __init__(self, library: Library, rng: np.random.Generator) -> None:
        self.library, self._rng = library, rng
        self._left: list[int] = []

    def deal(self) -> Sound:
        """The next sound."""
        if not self._left:
            self._left = self._rng.permutation(len(self.library.sounds)).tolist()
        return self.library.sounds[self._left.pop()]

    def any(self, rng: np.random.Generator) -> Sound:
        """Some sound, without dealing it."""
        return self.library.sounds[int(rng.integers(len(self.library.sounds)))]


def _sources(deck: _Deck, rooms: Places, wanted: int, rng: np.random.Generator) -> list[tuple[Sound, Place]]:
    first = deck.deal()
    if wanted == 1:
        return [(first, rooms.draw(rng, 1)[0])]
    for _ in range(TRIES):
        places = rooms.draw(rng, wanted)
        second = deck.any(rng)
        for place in places[1:]:
            if compatible(HeardSource(first.labels, places[0].position), HeardSource(second.labels, place.position)):
                return [(first, places[0]), (second, place)]
    raise BadInput(
        f"in {TRIES} tries no two sources had different labels and regions; use more sounds, or rooms with more sources"
    )


def _begin_s(sound: Sound, seconds: float, rng: np.random.Generator) -> float:
    """Where a clip begins in a sound that repeats: there is something to hear in what follows."""
    wave = sound.waveform()
    if not len(wave):
        return 0.0
    samples = round(seconds * SAMPLE_RATE_HZ)
    begins = rng.integers(len(wave), size=STRETCHES)
    cuts = [Cut(0, samples, int(begin), samples, np.float32(1)) for begin in begins]
    return first_heard(wave, cuts).begin / SAMPLE_RATE_HZ
