"""Audio files in and out: binaural recordings for the agent, mono clips for the simulator, WAV files to keep.

Reading never guesses: a file that carries no direction, or more channels than ears, is an error that says how to
proceed. Resampling is libsoxr's high-quality setting throughout, as its error lies near −106 dB.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bat_agent.errors import BadInput, OldNameWarning
from bat_agent.files.writing import whole_file
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.wav_header import finished

if TYPE_CHECKING:
    import soundfile
    from torch import Tensor

PathLike = str | os.PathLike[str]
CLIPPED, CLIPPED_SHARE = 0.999, 1e-3
"""A recording clips where more than this share of its samples are so near full scale, and none beyond."""
CLIPS = "the recording clips, which distorts level and spectrum"
UNFINISHED = "the header of the recording was never finished (was it cut off?), so all that is there was read"
_PLAIN_BYTES, _HIGHEST_RATIO = 1 << 30, 200
"""Samples of so many bytes are decoded from any file, more only where the file has its share of them."""
_UNKNOWN_FRAMES = 2**63 - 1
_SMALL_BYTES = 1 << 14
"""Longer is no header without sound."""
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS")
"""Other formats, and what is no audio at all, libsndfile is asked about, which takes longer."""
_LARGEST = 1e30
"""Resampling must not make infinite what was finite."""


@dataclass(frozen=True)
class Recording:
    """What a file holds."""

    waveform: Tensor
    """(2, N) float32 at 32 kHz, channel 0 left."""
    notes: tuple[str, ...] = ()
    """What was done to read it, and what only the file at its own rate tells, such as that it clips."""


def expand(place: str) -> str:
    """A path as recipes and options name it, with ``~``, ``$BAT_SHARED`` (default ``../shared``) and other variables
    filled in.
    """
    root = os.environ.get("BAT_SHARED") or os.path.join(os.pardir, "shared")
    return os.path.expanduser(os.path.expandvars(place.replace("${BAT_SHARED}", root).replace("$BAT_SHARED", root)))


def read_audio(
    path: PathLike, *, mono: Literal["refuse", "duplicate"] = "refuse", channels: tuple[int, int] | None = None
) -> Tensor:
    """Read a binaural file: float32 (2, N) at 32 kHz, channel 0 left, full scale ±1, resampled where needed.

    ``mono="duplicate"`` gives both ears the same samples; ``channels`` names the two channels (counted from 1) that
    are the left and the right ear. Raises :class:`~bat_agent.errors.BadInput` for a file that is missing, empty, not
    audio, not finite, or has no two ears.
    """
    return read_recording(path, mono=mono, channels=channels).waveform


def read_recording(
    path: PathLike, *, mono: Literal["refuse", "duplicate"] = "refuse", channels: tuple[int, int] | None = None
) -> Recording:
    """As :func:`read_audio`, with remarks: another rate, clipping (looked for before resampling hides it), a WAV header
    that was never finished.
    """
    import torch

    ears, notes = read_ears(path, mono=mono, channels=channels)
    return Recording(torch.from_numpy(ears), notes)


def read_ears(
    path: PathLike, *, mono: Literal["refuse", "duplicate"] = "refuse", channels: tuple[int, int] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As :func:`read_recording`, without torch: the waveform as an array (2, N) float32, and the remarks."""
    samples, rate_hz, notes = _read(Path(path))
    ears = _two_ears(Path(path), samples, mono, channels)
    if clips(ears):
        notes.append(CLIPS)
    if rate_hz != SAMPLE_RATE_HZ:
        notes.append(f"resampled from {rate_hz} Hz to {SAMPLE_RATE_HZ} Hz")
        ears = ears / max(1.0, float(np.abs(ears).max()) / _LARGEST)
    return np.ascontiguousarray(resample(ears, rate_hz, SAMPLE_RATE_HZ)), tuple(notes)


def clips(samples: np.ndarray) -> bool:
    """Whether samples (channels, N) at the rate of their recording reach full scale and were cut there."""
    if not CLIPPED <= max(samples.max(initial=0.0), -samples.min(initial=0.0)) <= 1.0:
        return False
    return bool(((np.abs(samples) >= CLIPPED).mean(axis=-1) > CLIPPED_SHARE).any())


def read_mono(path: PathLike, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Read the first channel of a file: float32 (N,) at ``rate_hz``; a source clip as BAT takes it.

    Raises :class:`~bat_agent.errors.BadInput` for a file that is missing, empty, not audio or not finite.
    """
    samples, file_rate_hz, _ = _read(Path(path))
    return resample(np.ascontiguousarray(samples[0]), file_rate_hz, rate_hz)


def resample(waveform: Any, from_hz: float, to_hz: float) -> Any:
    """Resample along the last axis by libsoxr (HQ): (…, N) to (…, ≈ N·to/from), float32.

    A numpy array gives a numpy array, a torch tensor a torch tensor on the CPU. Raises
    :class:`~bat_agent.errors.BadInput` for a rate that is not positive.
    """
    if not (0 < from_hz < float("inf") and 0 < to_hz < float("inf")):
        raise BadInput(f"sample rates must be positive numbers in Hz, got {from_hz} and {to_hz}")
    if not isinstance(waveform, np.ndarray):
        import torch

        return torch.from_numpy(resample(waveform.detach().cpu().numpy(), from_hz, to_hz))
    samples = waveform.astype(np.float32, copy=False)
    if from_hz == to_hz or samples.size == 0:
        return samples
    import soxr

    lanes = samples.reshape(-1, samples.shape[-1])  # soxr wants (N, channels)
    resampled = soxr.resample(np.ascontiguousarray(lanes.T), from_hz, to_hz, quality="HQ")
    return np.ascontiguousarray(resampled.T).reshape(*samples.shape[:-1], -1)


def write_wav(path: PathLike, waveform: Any, rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """Write (N,) or (channels, N) as a float32 WAV file, so that nothing clips; the file appears whole or not at all.

    The same samples give the same bytes (libsndfile would put the time of writing into a float WAV).

    Takes a numpy array or a torch tensor; returns the path. Raises :class:`~bat_agent.errors.BadInput` where the
    waveform has another shape or the place cannot be written.
    """
    from scipy.io import wavfile

    target = Path(path)
    samples = np.asarray(waveform.detach().cpu() if hasattr(waveform, "detach") else waveform, dtype=np.float32)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0):
        raise BadInput(f"a waveform to write must have shape (N,) or (channels, N), got {samples.shape}")
    if not target.parent.is_dir():
        raise BadInput(f"cannot write {target}: the folder {target.parent} does not exist; make it first")
    with whole_file(target) as stream:
        wavfile.write(stream, rate_hz, samples.T)
    return target


def holds_sound(path: PathLike) -> bool:
    """Whether a file holds any samples: a small one is read, a large one believed if it begins as audio does."""
    source = Path(path)
    if source.stat().st_size > _SMALL_BYTES and _begins_as_audio(source):
        return True
    import soundfile

    try:
        if source.stat().st_size <= _SMALL_BYTES:
            return _read(source)[0].size > 0
        return bool(soundfile.info(str(path)).frames > 0)
    except (BadInput, soundfile.LibsndfileError, OSError):
        return False


def _begins_as_audio(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in _BEGINNINGS


def decode(content: bytes, name: str, dtype: Literal["float32", "float64"] = "float32") -> tuple[np.ndarray, int]:
    """All samples, (channels, N), of the bytes of an audio file, and its rate in Hz; ``name`` is what messages call it.

    Raises :class:`~bat_agent.errors.BadInput` for what is empty, not audio or not finite.
    """
    content = finished(content) or content
    return _decoded(io.BytesIO(content), len(content), name, dtype)


def _read(path: Path) -> tuple[np.ndarray, int, list[str]]:
    """All samples, float32 (channels, N), the file's rate, and remarks."""
    if not path.exists():
        raise BadInput(f"no audio file at {path}; check the name")
    if path.is_dir():
        raise BadInput(f"{path} is a folder, expected an audio file; name a file in it")
    if (content := finished(path)) is not None:
        return *_decoded(io.BytesIO(content), len(content), str(path), "float32"), [UNFINISHED]
    return *_decoded(path, path.stat().st_size, str(path), "float32"), []


def _decoded(source: Path | io.BytesIO, num_bytes: int, name: str, dtype: str) -> tuple[np.ndarray, int]:
    import soundfile

    if num_bytes == 0:
        raise BadInput(f"{name} is empty (0 bytes), expected audio; record or copy it again")
    try:
        with soundfile.SoundFile(source) as file:
            check_length(file, num_bytes, name)
            samples, rate_hz = file.read(dtype=dtype, always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise BadInput(
            f"cannot read {name} as audio ({reason}), expected WAV, FLAC, OGG or MP3; convert it, e.g. with ffmpeg"
        ) from error
    if len(samples) == 0:
        raise BadInput(f"{name} holds no samples, expected at least one; record or copy it again")
    if not np.isfinite(samples).all():
        raise BadInput(f"{name} holds samples that are NaN or infinite, expected finite numbers; export it again")
    return samples.T, int(rate_hz)


def check_length(file: soundfile.SoundFile, num_bytes: int, name: str) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for an open file of ``num_bytes`` whose header claims a length that no
    recording has, before memory is spent on it; and for a FLAC that was written to a pipe and says none.
    """
    if file.frames == _UNKNOWN_FRAMES:
        raise BadInput(
            f"{name} does not say how long it is, as a FLAC that was written to a pipe; make it anew, e.g. with ffmpeg"
        )
    decoded = 4 * file.frames * file.channels
    if decoded > max(_PLAIN_BYTES, _HIGHEST_RATIO * num_bytes):
        raise BadInput(
            f"{name} has {num_bytes:,} bytes and claims to hold {file.frames:,} samples, as no recording does; record "
            "or copy it again"
        )


def counted_from_1(channels: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of two channels, counted from 1. With a 0 among them they are counted from 0, as they were before
    bat-agent 0.2: they are taken so, with an :class:`~bat_agent.errors.OldNameWarning`.
    """
    if 0 not in channels:
        return channels
    raised = tuple(number + 1 for number in channels)
    said, meant = (",".join(map(str, numbers)) for numbers in (channels, raised))
    warnings.warn(f"channels are counted from 1: {said} was read as {meant}", OldNameWarning, stacklevel=3)
    return raised


def _two_ears(path: Path, samples: np.ndarray, mono: str, channels: tuple[int, int] | None) -> np.ndarray:
    if mono not in ("refuse", "duplicate"):
        raise BadInput(f"mono must be 'refuse' or 'duplicate', got {mono!r}")
    count = len(samples)
    if channels is not None:
        numbers = counted_from_1(channels)
        if len(numbers) != 2 or not all(1 <= number <= count for number in numbers):
            raise BadInput(
                f"channels={channels} does not fit {path}, which has {count} channels; name two from 1 to {count}"
            )
        return samples[[number - 1 for number in numbers]]
    if count == 2:
        return samples
    if count > 2:
        raise BadInput(
            f"{path} has {count} channels, expected 2 (left and right ear); choose two with --channels 1,2 "
            "(in Python channels=(1, 2))"
        )
    if mono == "duplicate":
        return np.repeat(samples, 2, axis=0)
    raise BadInput(
        f"{path} is a mono recording and carries no direction, expected 2 channels; record with two microphones, or "
        "use --mono duplicate (in Python mono='duplicate') to treat it as both ears hearing the same"
    )
