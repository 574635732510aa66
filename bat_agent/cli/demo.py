"""``bat-agent demo``: a room with two sounds, rendered, heard and asked about, with the truth beside every answer."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bat_agent.questions import Question
    from bat_agent.scene import Position, Scene

SIMULATOR = "shoebox"
SECONDS = 5.0
ONE_SOUND, TWO_SOUNDS, PICTURE = "one_sound.wav", "two_sounds.wav", "scene.png"
QUESTIONS = {"A": 1, "B": 1, "C": 2, "D": 2, "E": 4}
"""How many questions of each type; A and B are about one sound, the others about two."""

_NEAR_MEDIAN_PLANE = 0.5  # |cos el · cos az| below this is within 30° of straight ahead, behind, above or below
_MOST_DRAWS = 1000


@dataclass(frozen=True)
class Judged:
    """One question, what the agent said, and whether that is true."""

    question: Question
    answer: str
    confidence: float | None
    right: bool
    detail: str
    """Which part of the answer is right, where it has parts."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return {
            "type": self.question.type.letter,
            "question": self.question.text,
            "answer": self.answer,
            "confidence": self.confidence,
            "truth": self.question.answer,
            "right": self.right,
            "detail": self.detail,
        }


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the sounds and the picture.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another number gives another room and other sounds.")] = 0,
    model: inputs.Model = inputs.DEFAULT_MODEL,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Render a room with two sounds, listen, ask questions about it; writes two WAV files and a picture."""
    import numpy as np

    from bat_agent.evaluation import plotting
    from bat_agent.sound.audio import write_wav

    _make_folder(out)
    bat = inputs.open_bat(model, device)
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng)
    one, two = render(scene, rng)
    judged, notes = [], []
    for waveform, heard_scene, types in ((one, first_source(scene), "AB"), (two, scene, "CDE")):
        questions = draw_questions(heard_scene, types, rng)
        answers = bat.ask(waveform, [question.text for question in questions])
        judged += [judge(q, a.text, a.confidence) for q, a in zip(questions, answers, strict=True)]
        notes += [note for answer in answers for note in answer.notes]
    write_wav(out / ONE_SOUND, one)
    write_wav(out / TWO_SOUNDS, two)
    plotting.save_figure(plotting.scene_figure(scene, bat.perceive(two), two), out / PICTURE)
    _report(judged, scene, seed, [out / name for name in (ONE_SOUND, TWO_SOUNDS, PICTURE)], notes, json)


def _make_folder(out: Path) -> None:
    """Before anything is loaded: what cannot be written is told at once."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if out.is_file() else error.strerror
        raise BadInput(f"cannot use {out} as a folder: {why}; choose another --out") from error


def draw_scene(rng: np.random.Generator) -> Scene:
    """A shoebox room with two labelled sources: one clearly left and one clearly right, in different regions.

    The first draw of the simulator that has this geometry is taken; no model has a say in it.
    """
    from bat_agent import load_simulator
    from bat_agent.questions import related
    from bat_agent.sound.synthesis import PROCEDURAL_LABELS

    simulator = load_simulator(SIMULATOR)
    for _ in range(_MOST_DRAWS):
        scene = simulator.sample_scene(rng, num_sources=2)
        if _clear(scene.positions()):
            break
    pairs = [pair for pair in itertools.permutations(PROCEDURAL_LABELS, 2) if not related(*pair)]
    labels = pairs[rng.integers(len(pairs))]
    sources = (dataclasses.replace(s, labels=(label,)) for s, label in zip(scene.sources, labels, strict=True))
    return dataclasses.replace(scene, sources=tuple(sources))


def render(scene: Scene, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What the listener hears of the first source alone, and of both: each (2, N) at 32 kHz."""
    import torch

    from bat_agent import load_simulator
    from bat_agent.interfaces import SAMPLE_RATE_HZ
    from bat_agent.sound.acoustics import mix, spatialise
    from bat_agent.sound.synthesis import synthesise

    samples = round(SECONDS * SAMPLE_RATE_HZ)
    dry = [torch.from_numpy(synthesise(source.labels[0], rng, SECONDS)) for source in scene.sources]
    rirs = load_simulator(SIMULATOR).render(scene)
    heard = [spatialise(sound, rir, num_samples=samples) for sound, rir in zip(dry, rirs, strict=True)]
    return heard[0], mix(heard)


def first_source(scene: Scene) -> Scene:
    """The same scene with its first source only."""
    return dataclasses.replace(scene, sources=scene.sources[:1])


def draw_questions(scene: Scene, types: str, rng: np.random.Generator) -> list[Question]:
    """The questions of these types about ``scene``, as many of each as :data:`QUESTIONS` says."""
    from bat_agent.questions import from_scene, generate
    from bat_agent.questions.curriculum import question_types

    sources = from_scene(scene)
    questions = []
    for letter in types:
        drawn = generate(sources, question_types([letter]), rng, 4 * QUESTIONS[letter], typed=False)
        questions += _varied(drawn, QUESTIONS[letter])
    return questions


def judge(question: Question, answer: str, confidence: float | None = None) -> Judged:
    """Compare an answer with the truth.

    A, C: right when a named sound is one of the true ones. B, D: right when the region is the true one and the
    distance lies within 0.5 m. E: right when equal but for case and a full stop.
    """
    from bat_agent.questions import parse_labels

    letter = question.type.letter
    if letter in "AC":
        right, detail = bool(set(parse_labels(answer) or ()) & set(parse_labels(question.answer) or ())), ""
    elif letter in "BD":
        right, detail = _same_place(answer, question.answer)
    else:
        right, detail = _bare(answer) == _bare(question.answer), ""
    return Judged(question, answer, confidence, right, detail)


def _clear(positions: list[Position]) -> bool:
    from bat_agent.scene import unit_vector

    rightward = [unit_vector(position.azimuth_deg, position.elevation_deg)[0] for position in positions]
    return rightward[0] * rightward[1] < 0 and min(map(abs, rightward)) >= _NEAR_MEDIAN_PLANE


def _varied(drawn: list[Question], count: int) -> list[Question]:
    """The first ``count`` that differ in what is asked (E) or in the answer (A to D), then any others."""
    first: dict[str, Question] = {}
    for question in drawn:
        first.setdefault(question.kind if question.type.letter == "E" else question.answer, question)
    chosen = [*first.values(), *(question for question in drawn if question not in first.values())]
    return chosen[:count]


def _bare(answer: str) -> str:
    return answer.strip().rstrip(".").lower()


def _same_place(answer: str, truth: str) -> tuple[bool, str]:
    from bat_agent.questions import parse_location

    said, wanted = parse_location(answer), parse_location(truth)
    if said is None or wanted is None:
        return False, "not a place"
    region, distance = said[0] == wanted[0], abs(said[1] - wanted[1]) <= 0.5
    return region and distance, f"region {_tick(region)} distance {_tick(distance)}"


def _tick(right: bool) -> str:
    return "✓" if right else "✗"


def _report(judged: list[Judged], scene: Scene, seed: int, files: list[Path], notes: list[str], json: bool) -> None:
    right = sum(verdict.right for verdict in judged)
    if json:
        print_json(
            {
                "seed": seed,
                "scene": scene.to_dict(),
                "questions": [verdict.to_dict() for verdict in judged],
                "right": right,
                "total": len(judged),
                "files": [str(file) for file in files],
                "notes": list(dict.fromkeys(notes)),
            }
        )
        return
    columns = ("type", "question", "answer", "confidence", "truth", "right")
    print_table("A room with two sounds: A, B one of them alone; C, D, E both", columns, map(_row, judged))
    print_notes(notes)
    print(f"right: {right} of {len(judged)}")
    for file in files:
        print(file)


def _row(verdict: Judged) -> tuple[str, ...]:
    return (
        verdict.question.type.letter,
        verdict.question.text,
        verdict.answer,
        "" if verdict.confidence is None else f"{verdict.confidence:.2f}",
        verdict.question.answer,
        f"{_tick(verdict.right)} {verdict.detail}".strip(),
    )
