"""Twenty questions to a walking siren and a dog: a room rendered while it is listened to, one conversation, unedited.

    .venv/bin/python examples/twenty_questions.py --sounds FOLDER [--reasoner NAME] [--model NAME_OR_DIR] [--page]

The siren walks around the listener once in 24 s, two metres away; the dog stays where it is. Each question is about the
four seconds before it. FOLDER has recordings with a manifest.csv, of which a dog is taken; ``--dog FILE`` gives one.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

import numpy as np

import bat_agent
from bat_agent import Listener, Room, Scene, Source
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.registry import load_simulator
from bat_agent.scenes.moving import MovingScene, Stream, Waypoints
from bat_agent.scenes.playing import track_of
from bat_agent.scenes.scene_file import Playing
from bat_agent.sound.audio import read_mono

QUESTIONS = (
    "What do you hear?",
    "Where is the siren?",
    "And how far?",
    "Is it louder than the dog?",
    "And where is the dog?",
    "Is it behind me?",
    "Which way do I turn to face it?",
    "Where is the siren now?",
    "Is it moving?",
    "What is on my left?",
    "And on my right?",
    "How many sounds are there?",
    "Which is closer, the dog or the siren?",
    "At what o'clock is the siren?",
    "And the dog?",
    "Are the dog and the siren on the same side?",
    "Is anybody talking?",
    "What colour is the dog?",
    "Is it safe to step back?",
    "What is going on?",
)
EVERY_S, WINDOW_S, ROUND_S, RADIUS_M, CORNERS = 2.0, 4.0, 24.0, 2.0, 48
EARS_M, DOG_M = (3.5, 1.5, 3.0), (5.6, 0.9, 2.0)


def main() -> None:
    """Render, listen, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, help="folder with manifest.csv (file, labels, fold)")
    parser.add_argument("--dog", type=Path, help="recording of a dog")
    parser.add_argument("--model", default="bat-small")
    parser.add_argument("--reasoner", help="another reasoner than the model's own")
    parser.add_argument("--page", action="store_true", help="as the table of docs/conversation.md")
    options = parser.parse_args()
    if options.dog is None and options.sounds is None:
        sys.exit("no dog: give --sounds FOLDER with recordings, or --dog FILE")
    bat = bat_agent.load(options.model)
    if options.reasoner:
        bat = bat.with_reasoner(options.reasoner)
    dog = read_mono(str(options.dog or _recording(options.sounds)))
    moving, stream = _scene(dog)
    chat, heard = bat.chat(), np.zeros((2, 0), np.float32)
    for number, question in enumerate(QUESTIONS):
        until_s = WINDOW_S + number * EVERY_S
        while heard.shape[1] < round(until_s * SAMPLE_RATE_HZ):
            step = stream.step(moving.at(stream.time_s % ROUND_S), 0.1).cpu().numpy().T / 2
            heard = np.concatenate((heard, step.T.astype(np.float32)), axis=1)
        window = heard[:, round((until_s - WINDOW_S) * SAMPLE_RATE_HZ) :]
        answer = chat.ask(window, question)
        _print(until_s, _true(moving, (until_s - WINDOW_S / 2) % ROUND_S), answer, options.page)


def _print(t_s: float, truth: str, answer: bat_agent.Answer, page: bool) -> None:
    sure = "" if answer.confidence is None or not answer.understood else f" ({answer.confidence:.2f})"
    if page:
        print(f"| {t_s:.0f} s | {truth} | {answer.question} | {answer.spoken}{sure} |")
    else:
        print(f"{t_s:4.0f} s  [{truth}]\n        {answer.question}\n        — {answer.spoken}{sure}", flush=True)


def _recording(folder: Path) -> Path:
    """The first dog of the fold that the shipped model was not trained on."""
    with open(folder / "manifest.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if "Dog" in row["labels"].split(";") and row["fold"] == "4":
                return folder / row["file"]
    sys.exit(f"no recording of a dog is listed in {folder / 'manifest.csv'}: give --dog FILE")


def _scene(dog: np.ndarray) -> tuple[MovingScene, Stream]:
    turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS + 1)]
    places = tuple((EARS_M[0] + RADIUS_M * math.cos(a), 1.8, EARS_M[2] - RADIUS_M * math.sin(a)) for a in turns)
    way = Waypoints(tuple(ROUND_S * corner / CORNERS for corner in range(CORNERS + 1)), places)
    stay = Waypoints((0.0, ROUND_S), (DOG_M, DOG_M))
    sources = (Source(places[0], labels=("Siren",)), Source(DOG_M, labels=("Dog",)))
    moving = MovingScene(Scene(Room((7.0, 2.8, 6.0), 0.35), Listener(EARS_M), sources), sources_m=(way, stay))
    sounds = (None, dog)
    tracks = [
        track_of(n, source, Playing(loop=True), sound, ROUND_S, 0)
        for n, (source, sound) in enumerate(zip(sources, sounds, strict=True))
    ]
    return moving, Stream(load_simulator("shoebox"), tracks)


def _true(moving: MovingScene, t_s: float) -> str:
    scene = moving.at(t_s)
    said = []
    for source, position in zip(scene.sources, scene.positions(), strict=True):
        said.append(f"{source.labels[0].lower()}: {position.region}; {position.distance_m:.1f} m")
    return ", ".join(said)


if __name__ == "__main__":
    main()
