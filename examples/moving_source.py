"""Applause goes by, then the listener turns: sound without a gap, rendered in steps as a robot or a game would.

python examples/moving_source.py
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

import bat_agent
from bat_agent import Listener, Room, Scene, Source
from bat_agent.scenes.moving import Stream
from bat_agent.sound.acoustics import rms_dbfs, rms_normalise
from bat_agent.sound.audio import write_wav
from bat_agent.sound.synthesis import synthesise

STEP_S = 0.25

start = Scene(Room((5.0, 2.6, 4.0), rt60_s=0.3), Listener((2.5, 1.5, 3.0)), (Source((0.6, 1.4, 1.5), ("Applause",)),))
dry = torch.from_numpy(synthesise("Applause", np.random.default_rng(0), 4.0))
stream = Stream(bat_agent.load_simulator("shoebox"), [rms_normalise(dry)])
heard = []
for number in range(16):
    position = (0.6 + 0.25 * number, 1.4, 1.5)
    heading = max(0.0, number - 8) * 10.0  # from the ninth step on the head turns away, to the left
    scene = dataclasses.replace(
        start,
        listener=dataclasses.replace(start.listener, heading_deg=heading),
        sources=(dataclasses.replace(start.sources[0], position_m=position),),
    )
    heard.append(stream.step(scene, STEP_S))
    left, right = rms_dbfs(heard[-1]).tolist()
    (where,) = scene.positions()
    print(f"{stream.time_s:4.2f} s: {where.region}, azimuth {where.azimuth_deg:3.0f}°, ILD {left - right:+5.1f} dB")
print(write_wav("moving_source.wav", torch.cat(heard, dim=-1)))
