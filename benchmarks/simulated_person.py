"""A person who listens, simulated by ``bayesian-listener`` (Barumerli et al., Acta Acustica 2023), and its measures.

Run by ``bench_person.py`` with a Python that has ``bayesian-listener==0.3.0``; it needs nothing of bat-agent. Reads an
``.npz`` file with ``hrir`` (M, 2, taps), ``rate_hz``, ``true`` (M, 3; unit vectors x right, y up, z back), and of those
directions that a model heard the numbers ``heard`` (N,) and what it ``said`` (N, 3). Prints JSON: for the ``person``,
who hears all, and for the ``model`` the figures of the package, each with a 95 % interval over directions.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pyfar
import sofar
from bayesian_listener import BayesianListener
from bayesian_listener.metrics import localization_error

FIGURES = ("rmsL", "rmsPmedianlocal", "querrMiddlebrooks")
REPETITIONS = 5
"""Answers of the person to each direction."""
RESAMPLES = 200
BAND_HZ = [700.0, 15_000.0]
"""Of the monaural cues; the package's own ends at 18 kHz, above half the rate of these responses."""


def coordinates(vectors: np.ndarray) -> pyfar.Coordinates:
    """Of pyfar and SOFA (x front, y left, z up)."""
    right, up, back = vectors.T
    return pyfar.Coordinates(-back, -right, up)


def listener(hrir: np.ndarray, rate_hz: float, true: np.ndarray) -> BayesianListener:
    """A person with this head."""
    sofa = sofar.Sofa("SimpleFreeFieldHRIR")
    right, up, back = true.T
    azimuth, elevation = np.degrees(np.arctan2(-right, -back)) % 360, np.degrees(np.arcsin(np.clip(up, -1, 1)))
    sofa.Data_IR, sofa.Data_SamplingRate = hrir.astype(np.float64), rate_hz
    sofa.SourcePosition = np.stack([azimuth, elevation, np.full(len(true), 1.2)], axis=1)
    person = BayesianListener(sofa)
    person.compute_target(spectral_range=BAND_HZ, use_cache=False)
    person.compute_template(use_cache=False)
    return person


def figures(true: np.ndarray, said: pyfar.Coordinates) -> dict[str, list[float]]:
    """Value, lower and upper end of each figure; ``said`` has M answers, or several to each of the M."""
    rng = np.random.default_rng(0)

    def once(chosen: np.ndarray) -> list[float]:
        targets, answers = coordinates(true[chosen]), said[chosen]
        return [float(localization_error(targets, answers, name, degrees=True)) for name in FIGURES]

    value = once(np.arange(len(true)))
    drawn = [once(rng.integers(len(true), size=len(true))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {name: [value[n], float(low[n]), float(high[n])] for n, name in enumerate(FIGURES)}


def main() -> None:
    """Read the file named on the command line, and print."""
    with np.load(sys.argv[1]) as file:
        hrir, true, rate_hz = file["hrir"], file["true"], float(file["rate_hz"])
        heard, said = file["heard"], file["said"]
    person = listener(hrir, rate_hz, true)
    answers = person.estimate(person.infer(repetitions=REPETITIONS, seed=0), seed=0)
    print(json.dumps({"person": figures(true, answers), "model": figures(true[heard], coordinates(said))}))


if __name__ == "__main__":
    main()
