"""From whatever a user hands in to the waveform an encoder wants; done once, here, for every encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.audio import resample
from bat_agent.sound.mending import mend
from bat_agent.sound.samples import fit_length

SHORTEST_S = 0.02
SHORT_S = 0.5
LARGEST = 2.0**32
"""Integers of 32 bits that were turned to floats reach half of it; no recording reaches more."""


class Listener(Protocol):
    """What is needed of an encoder."""

    sample_rate_hz: int
    clip_seconds: float


@dataclass(frozen=True)
class Prepared:
    """Clips ready for an encoder."""

    waveform: NDArray[np.float32]
    """(B, 2, N)"""
    batched: bool
    """Whether the user gave a batch."""
    silent: tuple[bool, ...]
    """Per clip: nothing above −90 dBFS."""
    placeless: tuple[bool, ...]
    """Per clip: no direction and no distance can be heard in it, as of one microphone in both channels."""
    notes: tuple[tuple[str, ...], ...]
    """Per clip: what the user should know."""


def prepare(waveform: Any, encoder: Listener) -> Prepared:
    """Check a waveform (2, N) or (B, 2, N) at 32 kHz, mend what lies (:func:`~bat_agent.sound.mending.mend`) and fit it
    to the encoder's rate and length.

    Raises :class:`~bat_agent.errors.BadInput` for another shape, NaN, infinite or huge samples, or less than 20 ms.
    """
    sound = _as_array(waveform)
    batched = sound.ndim == 3
    sound = sound if batched else sound[None]
    seconds = sound.shape[-1] / SAMPLE_RATE_HZ
    if seconds < SHORTEST_S:
        raise BadInput(
            f"the waveform lasts {seconds * 1000:.0f} ms, expected at least {SHORTEST_S * 1000:.0f} ms: give more sound"
        )
    notes = []
    if seconds > encoder.clip_seconds:
        notes.append(f"only the first {encoder.clip_seconds:g} s of {seconds:.1f} s were heard")
        sound = sound[..., : round(encoder.clip_seconds * SAMPLE_RATE_HZ)]
    clips = list(sound)
    mended = [mend(clip) for clip in clips]
    if any(done.clip is not clip for done, clip in zip(mended, clips, strict=True)):
        sound = np.stack([done.clip for done in mended])
    if seconds < SHORT_S:
        notes.append(f"the clip is very short ({seconds:.2f} s), so what is said of it is uncertain")
        sound = fit_length(sound, round(min(SHORT_S, encoder.clip_seconds) * SAMPLE_RATE_HZ))
    return Prepared(
        np.ascontiguousarray(fit(sound, encoder)),
        batched,
        tuple(done.silent for done in mended),
        tuple(done.placeless for done in mended),
        tuple((*notes, *done.notes) for done in mended),
    )


def _as_array(waveform: Any) -> NDArray[np.float32]:
    if isinstance(waveform, (list, tuple)) and waveform and all(map(_is_tensor, waveform)):
        shapes = {tuple(clip.shape) for clip in waveform}
        if len(shapes) > 1:
            listed = ", ".join(sorted(map(str, shapes)))
            raise BadInput(f"the clips of a batch must have one shape (2, samples), got {listed}: cut or pad them")
        waveform = np.stack([_of_tensor(clip) for clip in waveform])
    if _is_tensor(waveform):
        waveform = _of_tensor(waveform)
    if not isinstance(waveform, (np.ndarray, list, tuple)):
        raise BadInput(f"a waveform must be a torch tensor or numpy array, got {type(waveform).__name__}")
    return _checked(_numbers(waveform))


def _checked(sound: NDArray[Any]) -> NDArray[np.float32]:
    if sound.ndim not in (2, 3) or sound.shape[-2] != 2:
        hint = "; a mono sound carries no direction" if sound.ndim == 1 or 1 in sound.shape else ""
        hint = "; transpose it" if sound.ndim in (2, 3) and sound.shape[-1] == 2 else hint
        raise BadInput(f"a waveform must have shape (2, samples) or (batch, 2, samples), got {sound.shape}{hint}")
    if not len(sound):
        raise BadInput("the batch of waveforms is empty, expected at least one clip: check how it was put together")
    if sound.dtype.kind != "f":
        raise BadInput(f"a waveform must hold floats in ±1, got {sound.dtype}: divide integers by their full scale")
    with np.errstate(over="ignore"):  # what leaves float32 is found below
        sound = np.ascontiguousarray(sound, np.float32)
    peak = float(max(sound.max(initial=0.0), -sound.min(initial=0.0)))  # NaN where any sample is
    if not np.isfinite(peak):
        raise BadInput("the waveform contains NaN or infinite samples: check how it was recorded or computed")
    if peak > LARGEST:
        raise BadInput(f"samples of the waveform reach {peak:.3g}, expected ±1: check how it was recorded or computed")
    return sound


def _is_tensor(value: Any) -> bool:
    """Without torch: where that is not imported, nothing is a tensor."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _of_tensor(tensor: Any) -> NDArray[Any]:
    """A tensor of any device and kind as an array; numpy knows no bfloat16."""
    found: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
    return found


def _numbers(waveform: Any) -> NDArray[Any]:
    try:
        array = np.array(waveform)  # a copy: what is heard must not change afterwards
    except (TypeError, ValueError) as error:
        raise _no_numbers(error) from error
    if array.dtype.kind not in "fiub":
        raise _no_numbers(f"they are of type {array.dtype}")
    return array


def _no_numbers(why: object) -> BadInput:
    why = " ".join(str(why).split())
    return BadInput(f"a waveform must be numbers of shape (2, samples) or (batch, 2, samples): {why}")


def fit(sound: Any, encoder: Any) -> Any:
    """Bring clips (B, 2, N) at 32 kHz, an array or a tensor, to the rate of the encoder, and to its length: to no more
    than that, or, where it is fixed, to exactly that.
    """
    if encoder.sample_rate_hz != SAMPLE_RATE_HZ:
        sound = _resampled(sound, encoder.sample_rate_hz)
    samples = round(encoder.clip_seconds * encoder.sample_rate_hz)
    return fit_length(sound, samples) if getattr(encoder, "fixed_length", True) else sound[..., :samples]


# torchaudio's kernel made steep, so that what a GPU trains on is what is heard on a CPU: white noise from 32 to 16 kHz
# differs from libsoxr's by −40 dB (nearly all above 7.2 kHz; −105 dB below). torchaudio's default differs by −15 dB.
STEEP = {
    "resampling_method": "sinc_interp_kaiser",
    "lowpass_filter_width": 80,
    "rolloff": 0.955,
    "beta": 10.0,
}


def _resampled(sound: Any, rate_hz: int) -> Any:
    """By libsoxr on the CPU, as files and live sound are; on another device, or for a gradient, by torchaudio."""
    if isinstance(sound, np.ndarray) or (sound.device.type == "cpu" and not sound.requires_grad):
        return resample(sound, SAMPLE_RATE_HZ, rate_hz)
    from bat_agent.sound.torchaudio_parts import torchaudio_part

    purpose = f"resampling to {rate_hz} Hz on the device that trains"
    return torchaudio_part("functional", purpose).resample(sound, SAMPLE_RATE_HZ, rate_hz, **STEEP)
