"""A real recording in a real room: an AudioSet clip convolved with a Matterport RIR, as SpatialSoundQA renders it.

    python examples/real_room.py ROOT OUT.wav

ROOT is a folder in the released layout that holds the clip and the RIR named below.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from bat_agent.sound.acoustics import spatialise
from bat_agent.sound.audio import read_mono, write_wav

CLIP = "AudioSet/eval/audio/YCqvbWnTBfTk.wav"
RIR = "mp3d_reverb/binaural/sample/74.npy"


def main(root: Path, out: Path) -> None:
    dry = torch.from_numpy(read_mono(root / CLIP)).double()
    rir = torch.from_numpy(np.load(root / RIR)).double()
    waveform = spatialise(dry, rir).float()
    write_wav(out, waveform)
    write_wav(out.with_stem(out.stem + "_swapped"), waveform.flip(0))
    level = 20 * torch.log10(waveform.square().mean(dim=1).sqrt())
    print(f"{out} and its copy with swapped ears; left {level[0]:.1f} dBFS, right {level[1]:.1f} dBFS")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
