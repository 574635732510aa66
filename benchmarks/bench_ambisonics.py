"""Directions heard in ambisonic recordings, next to those heard in a binaural recording of the same scene.

Rooms are drawn and heard in three ways (``ambisonic_scenes.py``): by KEMAR's ears, and as first- and third-order AmbiX
rendered to those ears. The shipped model hears each; what counts is the angle between the directions of its strongest
source. The bars are a mean of 8° (first order) and 4° (third). Beside them: how far the binaural recording is heard
from itself when it is rounded to 16 bits, and when white noise 40 dB below it is added.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_ambisonics.py [SCENES] [SEED] [MODEL]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from ambisonic_scenes import Heard, scenes

import bat_agent
from bat_agent.ambisonics import to_ears
from bat_agent.scene import angle_between_deg

SCENES = 200
SECONDS = 5.0
WAYS = {"first order": 4, "third order": 16}
BARS_DEG = {"first order": 8.0, "third order": 4.0}
Direction = tuple[float, float]


def heard(bat: bat_agent.Bat, ears: np.ndarray) -> Direction | None:
    """Where the strongest source is."""
    for source in bat.perceive(torch.from_numpy(np.ascontiguousarray(ears))).sources[:1]:
        if source.azimuth_deg is not None and source.elevation_deg is not None:
            return source.azimuth_deg, source.elevation_deg
    return None


def disturbed(ears: np.ndarray) -> dict[str, np.ndarray]:
    """The binaural recording with what nobody would call another scene."""
    noise = np.random.default_rng(0).standard_normal(ears.shape) * np.sqrt((ears**2).mean())
    forms = {"binaural, 16 bits": np.round(ears * 2**15) / 2**15, "binaural, noise at -40 dB": ears + 0.01 * noise}
    return {name: form.astype(np.float32) for name, form in forms.items()}


def differences(bat: bat_agent.Bat, one: Heard) -> dict[str, float]:
    """Way → degrees between what is heard that way and in the binaural recording; and of the latter from the truth."""
    wanted = heard(bat, one.binaural)
    if wanted is None:
        return {}
    place = one.scene.positions()[0]
    truth = place.azimuth_deg, place.elevation_deg
    found = {"binaural, from the truth": angle_between_deg(wanted, truth)}
    ways = {way: to_ears(one.ambix[:channels]) for way, channels in WAYS.items()} | disturbed(one.binaural)
    for way, ears in ways.items():
        here = heard(bat, ears)
        if here is not None:
            found[way] = angle_between_deg(wanted, here)
            if way in WAYS:
                found[f"{way}, from the truth"] = angle_between_deg(truth, here)
    return found


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table; every 20 scenes how far it is."""
    count, seed = (*map(int, arguments[:2]), *(SCENES, 0)[len(arguments) :])
    bat = bat_agent.load(arguments[2] if len(arguments) > 2 else None)
    angles: dict[str, list[float]] = {}
    begun = time.process_time()
    for number, one in enumerate(scenes(count, seed=seed, seconds=SECONDS), 1):
        for way, angle in differences(bat, one).items():
            angles.setdefault(way, []).append(angle)
        if number % 20 == 0 or number == count:
            means = ", ".join(f"{way} {np.mean(values):.2f}°" for way, values in angles.items())
            print(f"{number} of {count} scenes, {time.process_time() - begun:.0f} s of CPU: mean {means}", flush=True)
    print(f"{'':28}{'scenes':>8}{'mean':>8}{'median':>8}{'> 20°':>8}{'bar':>8}")
    for way, values in angles.items():
        bar = f"{BARS_DEG[way]:.0f}°" if way in BARS_DEG else ""
        row = f"{np.mean(values):7.2f}°{np.median(values):7.2f}°{np.mean(np.array(values) > 20):8.1%}{bar:>8}"
        print(f"{way:28}{len(values):8}{row}")


if __name__ == "__main__":
    main(sys.argv[1:])
