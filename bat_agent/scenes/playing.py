"""What the sources of a scene file play: a recording, or a sound made up by their label."""

from __future__ import annotations

import numpy as np
import torch

from bat_agent.errors import BadInput
from bat_agent.scene import Source
from bat_agent.scenes.moving import Track
from bat_agent.scenes.scene_file import Playing
from bat_agent.sound.acoustics import rms_normalise
from bat_agent.sound.synthesis import PROCEDURAL_LABELS, synthesise

SYNTHESIS_LIMIT_S = 60.0
"""Longest stretch that is made up; then it begins again."""


def track_of(
    number: int, source: Source, playing: Playing, samples: np.ndarray | None, seconds: float, seed: int
) -> Track:
    """What source ``number`` plays for ``seconds``: ``samples`` of its file, mono at 32 kHz, or, where there are none,
    the sound of its label; at −14 dBFS (BAT, section 3.1).

    Raises :class:`~bat_agent.errors.BadInput` for a source with neither a sound nor a label that can be synthesised.
    """
    loop = playing.loop
    if samples is None:
        known = [label for label in source.labels if label in PROCEDURAL_LABELS]
        if not known:
            what = f"the labels {', '.join(source.labels)}" if source.labels else "no label"
            raise BadInput(
                f"source {number} has {what} and no sound, expected an audio file or "
                f"one of the labels that can be synthesised: {', '.join(PROCEDURAL_LABELS)}"
            )
        length_s = min(max(seconds - playing.start_s, 0.1), SYNTHESIS_LIMIT_S)
        samples, loop = synthesise(known[0], np.random.default_rng((seed % 2**63, number)), length_s), True
    # In double precision what is silent stays so; single leaves a floor 120 dB down, which encoders hear.
    dry = rms_normalise(torch.from_numpy(np.asarray(samples, dtype=np.float64)))
    return Track(dry, playing.start_s, playing.stop_s, loop)
