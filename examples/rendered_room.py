"""Build a room, put two sounds in it, listen and ask: the whole flow in Python.

python examples/rendered_room.py
"""

from __future__ import annotations

import numpy as np
import torch

import bat_agent
from bat_agent import Listener, Room, Scene, Source
from bat_agent.sound.acoustics import mix, spatialise
from bat_agent.sound.synthesis import synthesise

scene = Scene(
    room=Room(size_m=(5.0, 2.6, 4.0), rt60_s=0.25),
    listener=Listener(position_m=(2.5, 1.5, 2.5)),
    sources=(Source((1.0, 1.0, 2.0), ("Siren",)), Source((4.0, 1.8, 1.0), ("Knock",))),
)
rng = np.random.default_rng(0)
rirs = bat_agent.load_simulator("shoebox").render(scene)
sounds = [torch.from_numpy(synthesise(source.labels[0], rng)) for source in scene.sources]
waveform = mix([spatialise(sound, rir) for sound, rir in zip(sounds, rirs, strict=True)])

bat = bat_agent.load()
for source, position in zip(scene.sources, scene.positions(), strict=True):
    print(f"truth: {source.labels[0]} at {position.region}; {position.distance_m:.1f} m")
for heard in bat.perceive(waveform).sources:
    print(
        f"heard: {'; '.join(heard.labels)} at {heard.region}; {heard.distance_m} m, confidence {heard.confidence:.2f}"
    )
for question in ("Is the siren on the left side of the knock?", "Where is the knock?"):
    answer = bat.ask(waveform, question)
    print(f"{question} {answer} ({answer.confidence:.2f})")
