"""Procedural sounds: sirens, knocks, rain … from numpy alone, so that everything trains and runs without a data set.

Every class is one function ``(rng, n) -> (n,)`` that draws pitch, rate, envelope and filter anew, so that two draws
differ as two recordings of the class do. :func:`synthesise` sets length, edges and level. All is dry mono at 32 kHz.
The recipes are the textbook ones (A. Farnell, *Designing Sound*, MIT Press 2010): struck modes, filtered noise,
gated harmonic series.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import fft, signal

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ

Array = np.ndarray
Rng = np.random.Generator
_Recipe = Callable[[Rng, int], Array]
_RATE = SAMPLE_RATE_HZ
_TOP_HZ = 15_000.0  # partials end here, below the 16 kHz limit of the rate, so that nothing folds back
_EDGE_S = 0.005
_PEAK = 0.95
_LONGEST_S = 60.0
_RECIPES: dict[str, _Recipe] = {}


def synthesise(name: str, rng: Rng, seconds: float | None = None) -> Array:
    """One sound of a class of :data:`PROCEDURAL_LABELS`: float32 (N,), 32 kHz, dry mono, peak 0.95.

    The same state of ``rng`` gives the same samples; ``seconds`` defaults to a draw from 1.5 … 5 s. Raises
    :class:`~bat_agent.errors.BadInput` for a class without a recipe or a length outside (0, 60] s.
    """
    if name not in _RECIPES:
        raise BadInput(f"no procedural sound for {name!r}, expected one of {', '.join(map(repr, PROCEDURAL_LABELS))}")
    seconds = rng.uniform(1.5, 5.0) if seconds is None else seconds
    if not 0 < seconds <= _LONGEST_S:
        raise BadInput(f"seconds of a procedural sound must lie in (0, {_LONGEST_S:g}], got {seconds}")
    n = max(1, round(seconds * _RATE))
    sound = _fade(_colour(rng, _RECIPES[name](rng, n)))
    peak = np.abs(sound).max()
    return (sound * (_PEAK / peak if peak > 0 else 0.0)).astype(np.float32)


def _recipe(name: str) -> Callable[[_Recipe], _Recipe]:
    def register(function: _Recipe) -> _Recipe:
        _RECIPES[name] = function
        return function

    return register


# --- parts every recipe is made of ---


def _colour(rng: Rng, x: Array) -> Array:
    """A random spectral tilt of ±2 dB an octave: loudspeakers, casings and microphones differ."""
    size = fft.next_fast_len(len(x), real=True)
    octaves = np.log2(np.maximum(fft.rfftfreq(size, 1 / _RATE), 50.0) / 1000.0)
    spectrum = fft.rfft(x, size) * 10 ** (rng.uniform(-2, 2) * octaves / 20)
    spectrum[0] = 0.0
    return fft.irfft(spectrum, size)[: len(x)]


def _fade(x: Array) -> Array:
    edge = min(round(_EDGE_S * _RATE), len(x) // 2)
    ramp = np.ones(len(x))
    ramp[:edge] = np.linspace(0, 1, edge, endpoint=False)
    ramp[len(x) - edge :] = ramp[:edge][::-1]
    return x * ramp


def _time(n: int) -> Array:
    return np.arange(n) / _RATE


def _band(x: Array, low_hz: float | None, high_hz: float | None, order: int = 2) -> Array:
    """Butterworth band-pass; low- or high-pass where the other edge is ``None``."""
    edges = [edge for edge in (low_hz, high_hz) if edge is not None]
    kind = "bandpass" if len(edges) == 2 else "lowpass" if low_hz is None else "highpass"
    return signal.sosfilt(signal.butter(order, np.squeeze(edges), kind, fs=_RATE, output="sos"), x)


def _unit(x: Array) -> Array:
    """Scaled to RMS 1, so that mixing weights mean what they say."""
    return x / max(float(np.sqrt(np.mean(x * x))), 1e-12)


def _slow(rng: Rng, n: int, rate_hz: float, low: float, high: float) -> Array:
    """A control curve that wanders smoothly within low … high, about ``rate_hz`` turns a second."""
    knots = rng.uniform(low, high, max(2, int(n / _RATE * rate_hz) + 2))
    position = np.linspace(0, len(knots) - 1, n)
    left = np.minimum(position.astype(int), len(knots) - 2)
    blend = (1 - np.cos(np.pi * (position - left))) / 2
    return knots[left] * (1 - blend) + knots[left + 1] * blend


def _tone(frequency_hz: Array | float, amplitudes: Sequence[float] | Array, n: int) -> Array:
    """Σ aₖ sin(k φ(t)) with φ' = 2π f(t); partials that would pass 15 kHz are left out."""
    frequency = np.broadcast_to(np.asarray(frequency_hz, dtype=float), (n,))
    phase = 2 * np.pi * np.cumsum(frequency) / _RATE
    out = np.zeros(n)
    for k, amplitude in enumerate(amplitudes, start=1):
        if amplitude and k * frequency.max() < _TOP_HZ:
            out += amplitude * np.sin(k * phase)
    return out


def _modes(rng: Rng, n: int, frequencies_hz: Array, decays_s: Array | float, amplitudes: Array | float = 1.0) -> Array:
    """A struck body: Σ aₘ exp(−t/τₘ) sin(2π fₘ t + random phase)."""
    t = _time(n)
    columns = np.broadcast_arrays(np.asarray(frequencies_hz, dtype=float), decays_s, amplitudes)
    out = np.zeros(n)
    for f, tau, a in zip(*columns, strict=True):
        if f < _TOP_HZ:
            out += a * np.exp(-t / tau) * np.sin(2 * np.pi * f * t + rng.uniform(0, 2 * np.pi))
    return out


def _burst(rng: Rng, n: int, decay_s: float, low_hz: float | None, high_hz: float | None) -> Array:
    """A decaying burst of filtered noise."""
    return _unit(_band(rng.standard_normal(n), low_hz, high_hz)) * np.exp(-_time(n) / decay_s)


def _place(n: int, starts_s: Sequence[float] | Array, grains: Sequence[Array]) -> Array:
    """Adds each grain at its time; what passes the end is cut."""
    out = np.zeros(n)
    for start_s, grain in zip(starts_s, grains, strict=True):
        start = int(start_s * _RATE)
        if start < n:
            out[start : start + len(grain)] += grain[: n - start]
    return out


def _beats(rng: Rng, n: int, period_s: float, jitter: float = 0.0) -> Array:
    """Start times from soon after 0 to the end, one a period, each moved by up to ±jitter of a period."""
    count = max(1, int(n / _RATE / period_s))
    first = rng.uniform(0.0, 0.3) * period_s
    return first + period_s * np.maximum(0.0, np.arange(count) + rng.uniform(-jitter, jitter, count))


def _gate(n: int, on_s: float, off_s: float, ramp_s: float = 0.004) -> Array:
    """1 for on_s, 0 for off_s, again and again, with linear ramps."""
    t = _time(n) % (on_s + off_s)
    return np.clip(np.minimum(t, on_s - t) / ramp_s, 0, 1)


# --- tones ---


@_recipe("Siren")
def _siren(rng: Rng, n: int) -> Array:
    low, t = rng.uniform(450, 800), _time(n)
    high = low * rng.uniform(1.6, 2.4)
    kind = rng.choice(["wail", "yelp", "two-tone"])
    rate = {"wail": rng.uniform(0.4, 0.9), "yelp": rng.uniform(2.5, 5), "two-tone": rng.uniform(0.8, 1.6)}[kind]
    cycle = (rate * t + rng.random()) % 1.0
    shape = {"wail": (1 - np.cos(2 * np.pi * cycle)) / 2, "yelp": 1 - np.abs(2 * cycle - 1), "two-tone": cycle < 0.5}
    pitch = low * (high / low) ** shape[kind]
    return _tone(pitch, 1.0 / np.arange(1, 16) ** rng.uniform(1.0, 2.2), n)


@_recipe("Beep, bleep")
def _beep(rng: Rng, n: int) -> Array:
    tone = _tone(rng.uniform(700, 3500), [1.0, rng.uniform(0, 0.15), rng.uniform(0, 0.1)], n)
    return tone * _gate(n, rng.uniform(0.06, 0.3), rng.uniform(0.06, 0.5))


@_recipe("Telephone dialing, DTMF")
def _dtmf(rng: Rng, n: int) -> Array:
    on, off = rng.uniform(0.07, 0.2), rng.uniform(0.05, 0.2)
    out = np.zeros(n)
    rows, columns, length = (697, 770, 852, 941), (1209, 1336, 1477), round(on * _RATE)
    for start in range(0, n, round((on + off) * _RATE)):
        key = _tone(rng.choice(rows), [1.0], length) + _tone(rng.choice(columns), [1.1], length)
        out[start : start + length] = _fade(key)[: n - start]
    return out


@_recipe("Buzzer")
def _buzzer(rng: Rng, n: int) -> Array:
    k = np.arange(1, 60)
    amplitudes = np.where(k % 2, 1.0, rng.choice([0.0, 1.0])) / k ** rng.uniform(0.5, 1.0)  # square or sawtooth
    tone = _band(_tone(rng.uniform(90, 240), amplitudes, n), rng.uniform(150, 500), rng.uniform(4000, 12000), 1)
    return tone * _gate(n, rng.uniform(0.4, 1.5), rng.uniform(0.1, 0.6), 0.01)


@_recipe("Whistle")
def _whistle(rng: Rng, n: int) -> Array:
    """Two close tones, the pea's trill and breath noise."""
    trill = 1 + rng.uniform(0.01, 0.04) * np.sin(2 * np.pi * rng.uniform(18, 45) * _time(n))
    pitch = rng.uniform(2000, 3800) * trill * _slow(rng, n, 3, 0.98, 1.02)
    tone = _tone(pitch, [1.0, 0.15, 0.08], n) + 0.5 * _tone(pitch * rng.uniform(1.03, 1.12), [1.0, 0.1], n)
    tone *= 1 - rng.uniform(0.2, 0.7) * (trill < 1)
    breath = _unit(_band(rng.standard_normal(n), 1500, 9000)) * rng.uniform(0.05, 0.15)
    return (tone + breath) * _gate(n, rng.uniform(0.25, 1.2), rng.uniform(0.1, 0.5), 0.02)


@_recipe("Mosquito")
def _mosquito(rng: Rng, n: int) -> Array:
    pitch = rng.uniform(380, 750) * _slow(rng, n, 2.5, 0.93, 1.07)
    wings = _tone(pitch, 1.0 / np.arange(1, 20) ** rng.uniform(0.7, 1.3), n)
    return wings * _slow(rng, n, 2.0, 0.15, 1.0)


@_recipe("Cricket")
def _cricket(rng: Rng, n: int) -> Array:
    pulses, pulse_hz, length = int(rng.integers(3, 6)), rng.uniform(35, 65), round(rng.uniform(0.010, 0.016) * _RATE)
    pulse = _tone(rng.uniform(3800, 5600), [1.0, rng.uniform(0, 0.1)], length) * np.hanning(length)
    grow = np.linspace(rng.uniform(0.4, 0.8), 1.0, pulses)
    chirps = _beats(rng, n, 1 / rng.uniform(1.8, 4.0), 0.04)
    starts = (chirps[:, None] + np.arange(pulses) / pulse_hz).ravel()
    return _place(n, starts, [a * pulse for a in np.tile(grow, len(chirps))])


# --- struck bodies ---

_BELL_PARTIALS = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.0, 5.33])  # hum, prime, tierce, quint, nominal …


@_recipe("Bell")
def _bell(rng: Rng, n: int) -> Array:
    frequencies = rng.uniform(220, 700) * _BELL_PARTIALS * rng.normal(1, 0.004, len(_BELL_PARTIALS))
    decays = rng.uniform(0.6, 2.0) / np.sqrt(_BELL_PARTIALS)
    amplitudes = rng.uniform(0.3, 1.0, len(_BELL_PARTIALS))
    starts = _beats(rng, n, rng.uniform(0.7, 2.0), 0.03)
    stroke = _modes(rng, n, frequencies, decays, amplitudes) + 0.4 * _burst(rng, n, 0.004, 2000, 12000)
    return _place(n, starts, [rng.uniform(0.7, 1.0) * stroke for _ in starts])


@_recipe("Ding-dong")
def _ding_dong(rng: Rng, n: int) -> Array:
    ding = rng.uniform(550, 1100)
    gap, partials = rng.uniform(0.4, 0.8), np.array([1.0, 2.76, 5.4])  # the partials of a free bar
    chime = [
        _modes(rng, n, f * partials, rng.uniform(0.4, 0.9) / partials**0.7, np.array([1.0, 0.25, 0.1]))
        for f in (ding, ding / rng.choice([1.26, 1.19, 1.335]))
    ]
    again = np.arange(0.02, max(0.1, n / _RATE - 0.5), rng.uniform(2.0, 3.0) * 2 * gap)
    return _place(n, np.ravel([again, again + gap], order="F"), chime * len(again))


@_recipe("Telephone bell ringing")
def _telephone(rng: Rng, n: int) -> Array:
    """A clapper strikes two gongs in turn about twenty times a second; rings and pauses alternate."""
    on, off, strikes_hz = rng.uniform(0.7, 1.4), rng.uniform(0.3, 0.8), rng.uniform(18, 28)
    base, length = rng.uniform(900, 1700), round(0.35 * _RATE)
    partials = np.array([1.0, 1.8, 2.6, 3.5, 4.9])
    gongs = [
        _modes(rng, length, base * ratio * partials, rng.uniform(0.04, 0.1), rng.uniform(0.3, 1.0, 5))
        for ratio in (1.0, rng.uniform(1.1, 1.3))
    ]
    starts = np.arange(0.01, n / _RATE, 1 / strikes_hz)
    starts = starts[starts % (on + off) < on]
    return _place(n, starts, [gongs[i % 2] * rng.uniform(0.8, 1.0) for i in range(len(starts))])


@_recipe("Knock")
def _knock(rng: Rng, n: int) -> Array:
    frequencies, length = rng.uniform(90, 260) * np.array([1, 1.6, 2.4, 3.7, 5.3]), round(0.25 * _RATE)
    decays, amplitudes = rng.uniform(0.008, 0.025, 5), rng.uniform(0.3, 1, 5) / np.arange(1, 6) ** 0.5
    times: list[float] = []
    start = rng.uniform(0.02, 0.15)
    while start < max(0.2, n / _RATE - 0.2):  # groups of knocks: "tock tock tock … tock tock tock"
        gap = rng.uniform(0.12, 0.26)
        group = [start + i * gap for i in range(int(rng.integers(2, 5)))]
        times += group
        start = group[-1] + rng.uniform(0.5, 1.2)
    strokes = [
        rng.uniform(0.6, 1.0) * _modes(rng, length, frequencies, decays, amplitudes)
        + rng.uniform(0.2, 0.5) * _burst(rng, length, 0.003, 600, 5000)
        for _ in times
    ]
    return _place(n, times, strokes)


@_recipe("Tick")
def _tick(rng: Rng, n: int) -> Array:
    length, brightness = round(0.05 * _RATE), rng.uniform(1500, 4000)
    clicks = [
        _modes(rng, length, brightness * turn * np.array([1, 1.7, 2.9]), rng.uniform(0.0008, 0.003, 3))
        + 0.7 * _burst(rng, length, 0.0006, 1500, 12000)
        for turn in (1.0, rng.uniform(0.75, 1.0))  # the escapement's two sides
    ]
    starts = _beats(rng, n, rng.choice([1.0, 0.5, 0.25, 0.2]), 0.005)
    return _place(n, starts, [clicks[i % 2] for i in range(len(starts))])


@_recipe("Drip")
def _drip(rng: Rng, n: int) -> Array:
    """Each drop is a bubble: a decaying tone whose pitch rises as the bubble nears the surface."""
    base, length = rng.uniform(600, 2200), round(0.15 * _RATE)
    t = _time(length)

    def drop() -> Array:
        pitch = base * rng.uniform(0.8, 1.25) * (1 + rng.uniform(3, 12) * t)
        splash = 0.08 * _burst(rng, length, 0.003, 2000, 12000)
        return rng.uniform(0.5, 1) * (_tone(pitch, [1.0], length) * np.exp(-t / rng.uniform(0.012, 0.035)) + splash)

    starts = _beats(rng, n, rng.uniform(0.25, 0.9), 0.25)
    return _place(n, starts, [drop() for _ in starts])


@_recipe("Gunshot, gunfire")
def _gunshot(rng: Rng, n: int) -> Array:
    length, tail, low = round(0.9 * _RATE), rng.uniform(0.06, 0.2), rng.uniform(600, 2000)

    def shot() -> Array:
        crack = _burst(rng, length, rng.uniform(0.004, 0.012), 150, 14000)
        return rng.uniform(0.7, 1) * (crack + 0.35 * _burst(rng, length, tail, 60, low))

    starts = _beats(rng, n, rng.choice([rng.uniform(0.12, 0.25), rng.uniform(0.6, 1.5)]), 0.15)
    return _place(n, starts, [shot() for _ in starts])


@_recipe("Clapping")
def _clapping(rng: Rng, n: int) -> Array:
    palm, length = rng.uniform(700, 1800), round(0.1 * _RATE)
    starts = _beats(rng, n, 1 / rng.uniform(2.0, 5.0), 0.06)
    claps = [
        rng.uniform(0.6, 1) * _burst(rng, length, rng.uniform(0.004, 0.01), palm * rng.uniform(0.6, 0.8), palm * 2.5)
        for _ in starts
    ]
    return _place(n, starts, claps)


@_recipe("Applause")
def _applause(rng: Rng, n: int) -> Array:
    """Many people clap, each at a pace and with palms of their own."""
    out = np.zeros(n)
    for _ in range(int(rng.integers(25, 60))):
        palm, loud, decay_s = rng.uniform(700, 2200), rng.uniform(0.2, 1.0), rng.uniform(0.004, 0.012)
        clap = loud * _burst(rng, round(0.06 * _RATE), decay_s, palm * 0.6, palm * 2.5)
        starts = _beats(rng, n, 1 / rng.uniform(2.5, 5.5), 0.15) + rng.uniform(0, 0.3)
        out += _place(n, starts, [clap] * len(starts))
    return out


# --- machines and weather ---


@_recipe("Engine")
def _engine(rng: Rng, n: int) -> Array:
    """Firing strokes at 20 … 60 Hz, uneven from cylinder to cylinder, ring in exhaust and block."""
    firing_hz = rng.uniform(20, 60) * _slow(rng, n, 1.0, 0.9, 1.15)
    stroke = np.floor(np.cumsum(firing_hz) / _RATE).astype(int)
    pulses = np.diff(stroke, prepend=0) * rng.uniform(0.6, 1.0, 4)[stroke % 4] * rng.uniform(0.9, 1.1, n)
    length = round(0.06 * _RATE)
    block = _modes(rng, length, rng.uniform(60, 900, 6), rng.uniform(0.006, 0.02, 6), rng.uniform(0.4, 1, 6))
    strokes = signal.oaconvolve(pulses, block + 0.3 * _burst(rng, length, 0.004, 300, 6000))[:n]
    rush = _band(rng.standard_normal(n), 200, rng.uniform(2000, 6000)) * (1 + np.abs(_unit(strokes)))
    return _unit(strokes) + rng.uniform(0.1, 0.3) * _unit(rush)


@_recipe("Helicopter")
def _helicopter(rng: Rng, n: int) -> Array:
    blade_hz, t = rng.uniform(9, 22), _time(n)
    slap = np.maximum(0.0, np.sin(2 * np.pi * blade_hz * t)) ** rng.uniform(3, 10)
    chop = _unit(_band(rng.standard_normal(n), 50, rng.uniform(400, 1500), 1) * slap)
    wash = _unit(_band(rng.standard_normal(n), 300, 8000, 1) * (0.3 + 0.7 * slap)) * rng.uniform(0.15, 0.4)
    turbine = _tone(rng.uniform(1500, 4500) * _slow(rng, n, 1, 0.995, 1.005), [1.0], n) * rng.uniform(0.01, 0.06)
    return (chop + wash + turbine) * _slow(rng, n, 0.7, 0.7, 1.0)


@_recipe("Vacuum cleaner")
def _vacuum(rng: Rng, n: int) -> Array:
    motor_hz = rng.uniform(220, 480) * _slow(rng, n, 0.8, 0.99, 1.01)
    motor = _unit(_tone(motor_hz, rng.uniform(0.2, 1.0, 20) / np.arange(1, 21) ** 0.7, n))
    centre, noise = rng.uniform(1000, 3000), rng.standard_normal(n)
    air = _unit(_band(noise, 200, 12000, 1)) + _unit(_band(noise, centre, 1.6 * centre))
    return air + rng.uniform(0.4, 1.0) * motor


@_recipe("Rain")
def _rain(rng: Rng, n: int) -> Array:
    """A steady hiss plus drops that land close by, a few hundred a second."""
    hiss = _unit(_band(rng.standard_normal(n), rng.uniform(300, 900), _TOP_HZ, 1))
    drops = np.zeros(n)
    for centre in rng.uniform(1500, 8000, 6):  # sizes of drop
        hits = (rng.random(n) < rng.uniform(20, 80) / _RATE) * rng.uniform(0.2, 1.0, n)
        length = round(0.012 * _RATE)
        drops += signal.oaconvolve(hits, _burst(rng, length, 0.002, 0.6 * centre, 1.6 * centre))[:n]
    return hiss + rng.uniform(0.3, 0.8) * _unit(drops)


@_recipe("Wind")
def _wind(rng: Rng, n: int) -> Array:
    """Gusts: bands of noise that swell one after the other, the higher ones with the stronger gust."""
    gust = _slow(rng, n, rng.uniform(0.5, 1.2), 0.15, 1.0)
    out = np.zeros(n)
    for power, low_hz in enumerate((60.0, 150.0, 350.0, 800.0), start=1):
        band = _unit(_band(rng.standard_normal(n), low_hz, low_hz * rng.uniform(2.0, 3.5), 1))
        out += band * gust**power * _slow(rng, n, 1.5, 0.5, 1.0) * 0.75**power
    return out


PROCEDURAL_LABELS: tuple[str, ...] = tuple(sorted(_RECIPES))
"""The classes that :func:`synthesise` makes, as display names of the 355-class table, in alphabetical order."""
