"""The clips of a manifest, as batches of sound with their truth: the same samples in every run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bat_agent.clips.batch import Batch, truth_of
from bat_agent.datasets.layout import BINAURAL, REVERB
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.datasets.sounds import Sound
from bat_agent.errors import BadInput
from bat_agent.evaluation.manifest import Clip, ClipSource, place_of, read_manifest
from bat_agent.files.reading import read_array
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.scene import Scene
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.acoustics import convolve, direct_sound, fit_length, rms_normalise
from bat_agent.sound.audio import read_mono
from bat_agent.sound.waveform import LARGEST

REVERBERATIONS = ("full", "direct", "none")
RIR_SECONDS = 2.0
"""The released trainer cuts RIRs to this length."""


class ManifestClips:
    """Batches of a manifest's clips, each sound at −14 dBFS in its room, several sources averaged, as released.

    ``normalise`` and ``reverberation`` are the switches of BAT's table 8, as in
    :class:`bat_agent.recipes.schema.Mixing`. Raises :class:`~bat_agent.errors.BadInput` for what :func:`read_manifest`
    refuses, and where a sound or a RIR is not there; nothing is rendered before all is found.
    """

    def __init__(
        self, path: str | Path, *, clips_per_batch: int = 32, normalise: bool = True, reverberation: str = "full"
    ) -> None:
        if reverberation not in REVERBERATIONS:
            raise BadInput(f"reverberation must be one of {', '.join(REVERBERATIONS)}, got {reverberation!r}")
        self.path = Path(path)
        self.clips: Sequence[Clip] = read_manifest(path)
        self.normalise, self.reverberation = normalise, reverberation
        self._simulators: dict[str, Simulator] = {}
        self._sounds = self._find_sounds()
        self._check_files()
        self._batches = _of_equal_length(self.clips, clips_per_batch)

    def only(self, sources: int) -> ManifestClips:
        """The clips with this many sources; may be empty."""
        other = object.__new__(ManifestClips)
        other.__dict__.update(self.__dict__)
        other.clips = [clip for clip in self.clips if len(clip.sources) == sources]
        most = max((len(batch) for batch in self._batches), default=1)
        other._batches = _of_equal_length(other.clips, most)
        return other

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __getitem__(self, step: int) -> Batch:
        """One batch of clips of equal length."""
        clips = self._batches[step]
        heard = [[source.heard for source in clip.sources] for clip in clips]
        waveform = torch.stack([self.render(clip) for clip in clips])
        return Batch(waveform, truth_of(heard), heard, [[] for _ in clips])

    def render(self, clip: Clip) -> Tensor:
        """The waveform (2, N) of one clip."""
        samples = round(clip.seconds * SAMPLE_RATE_HZ)
        return torch.stack([self._wet(source, samples) for source in clip.sources]).mean(dim=0)

    def _wet(self, source: ClipSource, samples: int) -> Tensor:
        dry = torch.from_numpy(np.array(self._dry(source), dtype=np.float32))
        dry = rms_normalise(dry) if self.normalise else dry
        if source.begin_s is not None:
            # As much before the clip as a RIR is long, so that all of its reverberation is in the clip.
            before = round(RIR_SECONDS * SAMPLE_RATE_HZ)
            dry = _from(dry, round(source.begin_s * SAMPLE_RATE_HZ) - before, before + samples)
            return self._in_room(dry, source)[:, before:]
        return self._in_room(fit_length(dry, samples), source)

    def _in_room(self, dry: Tensor, source: ClipSource) -> Tensor:
        if self.reverberation == "none":
            return dry.expand(2, -1)
        rir = self._rir(source)[:, : round(RIR_SECONDS * SAMPLE_RATE_HZ)]
        return convolve(dry[None], direct_sound(rir) if self.reverberation == "direct" else rir, len(dry))

    def _dry(self, source: ClipSource) -> np.ndarray:
        if source.audio is not None:
            return read_mono(place_of(source.audio, self.path.parent))
        return self._sounds[source.library or "", source.sound or ""].waveform()

    def _rir(self, source: ClipSource) -> Tensor:
        if source.scene is not None:
            return self._simulator(source.scene).render(source.scene)[0].float().cpu()
        return _read_rir(_rir_file(source, self.path.parent))

    def _simulator(self, scene: Scene) -> Simulator:
        """Building a simulator may cost seconds, so one renders every scene that names it alike."""
        key = f"{type(scene.room).__name__} {json.dumps(scene.simulator, sort_keys=True)}"
        if key not in self._simulators:
            self._simulators[key] = simulator_of(scene)
        return self._simulators[key]

    def _find_sounds(self) -> dict[tuple[str, str], Sound]:
        wanted: dict[str, set[str]] = {}
        for source in self._sources():
            if source.library is not None:
                wanted.setdefault(source.library, set()).add(source.sound or "")
        found: dict[tuple[str, str], Sound] = {}
        for library, ids in wanted.items():
            found |= {(library, sound.id): sound for sound in open_sounds(library) if sound.id in ids}
            if missing := sorted(ids - {sound for place, sound in found if place == library}):
                raise BadInput(
                    f"{self.path}: the library {library!r} lacks {len(missing)} of {len(ids)} sounds, first "
                    f"{missing[0]!r}; fetch them, or write the manifest anew"
                )
        return found

    def _check_files(self) -> None:
        folder = self.path.parent
        audio = {place_of(source.audio, folder) for source in self._sources() if source.audio is not None}
        rirs = {_rir_file(source, folder) for source in self._sources() if source.scene is None}
        for what, files in (("audio files", audio), ("RIRs", rirs if self.reverberation != "none" else set())):
            if missing := sorted(file for file in files if not file.is_file()):
                raise BadInput(
                    f"{self.path}: {len(missing)} of {len(files)} {what} are not there, first {missing[0]}; "
                    "fetch them, or mend the paths"
                )

    def _sources(self) -> Iterable[ClipSource]:
        return (source for clip in self.clips for source in clip.sources)


def _from(dry: Tensor, begin: int, samples: int) -> Tensor:
    """Samples of a sound that repeats for ever; an empty one is silent."""
    if not len(dry):
        return dry.new_zeros(samples)
    return dry[torch.arange(begin, begin + samples) % len(dry)]


def _of_equal_length(clips: Sequence[Clip], most: int) -> list[list[Clip]]:
    """In the manifest's order within each length, so that a batch is one tensor."""
    by_length: dict[float, list[Clip]] = {}
    for clip in clips:
        by_length.setdefault(clip.seconds, []).append(clip)
    return [some[at : at + most] for some in by_length.values() for at in range(0, len(some), most)]


def _rir_file(source: ClipSource, folder: Path) -> Path:
    if source.rirs is None:
        return place_of(source.rir or "", folder)
    root = place_of(source.rirs, folder)
    base = root / REVERB if (root / REVERB).is_dir() else root
    return base / BINAURAL / (source.rir or "")


def _read_rir(file: Path) -> Tensor:
    try:
        rir = read_array(file)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the RIR {file} ({error}), expected a .npy file; fetch it again") from error
    if rir.ndim != 2 or len(rir) != 2 or not (np.abs(rir) <= LARGEST).all():
        raise BadInput(f"the RIR {file} must hold numbers up to 2^32 (2, taps), got {rir.shape}; fetch it again")
    return torch.from_numpy(rir.astype(np.float32))
