"""Options of the simulator ``shoebox``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bat_agent.errors import BadInput
from bat_agent.scene import Onset


@dataclass(frozen=True)
class ShoeboxConfig:
    """How to render, and what rooms to draw (defaults: the room sizes and reverberation times of BAT, section 3)."""

    head: str | tuple[str, ...] = "kemar"
    """``kemar``: measured mannequin (MIT, 1994); ``sphere``: rigid sphere, no pinnae and so weak elevation cues; the
    path of a SOFA file (needs the extra ``sofa``); or a set of heads, of which each drawn room gets one: a ``.npz``
    file of many, a folder of SOFA files, a pattern, or a list of any of these (:mod:`bat_agent_shoebox.heads`)."""
    subjects: tuple[str, ...] = ()
    """Of a set, only these heads (name in the ``.npz`` file, or of the SOFA file without its ending); empty: all."""
    without_subjects: tuple[str, ...] = ()
    """Of a set, these heads are held back."""
    head_sha256: str = ""
    """SHA-256 of the file of one head, written into drawn scenes; a file with another one is refused. Empty takes
    any."""
    head_distance_m: float = 1.5
    """Of a SOFA file with several radii, the ring whose radius is nearest to this (by its ratio) is the head."""
    allow_implausible: bool = False
    """Take a SOFA file that sounds like no head (ears exchanged, radians called degrees …) with a warning."""
    order: int = 8
    """Highest number of reflections of an image source; the diffuse tail takes over where this order is exhausted."""
    max_seconds: float = 2.0
    """Longest RIR of ``render``; a RIR is shorter where it has decayed by 60 dB before."""
    air_absorption: bool = True
    """Loss in air above 4 kHz (ISO 9613-1, 20 °C, 50 % humidity), beyond that at 4 kHz, which the walls account for."""
    decay: Literal["diffuse", "specular"] = "diffuse"
    """Law of the late decay: ``diffuse``, Eyring's, for rooms that scatter as furnished ones do; ``specular``, that of
    the complete image source model, for bare walls. Either way the room has the reverberation time asked for."""
    device: str = "cpu"
    """Torch device on which RIRs are computed and returned; off the CPU, sums may round differently each time."""
    onset: Onset = "physical"
    """Onset policy written into drawn scenes."""
    random_heading: bool = False
    """Draw headings uniformly from 0…360°; otherwise 0, as in the released reverberations."""
    median_area_m2: float = 17.6
    """Floor area of drawn rooms: median of a log-normal with σ 0.6, clipped to 4–90 m²."""
    max_aspect: float = 2.0
    """Longer over shorter side of the floor is uniform between 1 and this."""
    mean_height_m: float = 2.65
    """Height of drawn rooms: mean of a normal with σ 0.25 m, clipped to 2.2–4 m."""
    median_rt60_s: float = 0.25
    """Reverberation time of drawn rooms: median of a log-normal with σ ``rt60_sigma``."""
    rt60_sigma: float = 0.35
    """Standard deviation of the natural logarithm of the reverberation time."""
    min_rt60_s: float = 0.12
    """Drawn reverberation times are clipped from below here, or where the room cannot be made that dead."""
    max_rt60_s: float = 0.7
    """Drawn reverberation times are clipped from above here."""
    materials: Literal["none", "random"] = "none"
    """``random`` gives drawn rooms plausible wall materials, scaled to the drawn reverberation time; ``none``: walls
    absorb all frequencies alike."""
    directivity_db: float = 0.0
    """How much less sources radiate behind them than in front at 8 kHz, dB, falling with the octaves to nothing at
    125 Hz; a mouth or a loudspeaker has about 20. Where each faces is drawn from its scene's seed. 0: alike to all
    sides (:mod:`bat_agent_shoebox.directivity`)."""
    listener_margin_m: float = 0.4
    """Least distance of a drawn listener from a wall."""
    source_margin_m: float = 0.2
    """Least distance of a drawn source from a wall."""
    min_distance_m: float = 0.3
    """Least distance of a drawn source from the listener."""
    max_distance_m: float = 10.0
    """Greatest distance of a drawn source from the listener."""

    def __post_init__(self) -> None:
        from bat_agent_shoebox.heads import is_head

        if not self.heads or not all(map(is_head, self.heads)):
            raise BadInput(
                "shoebox head must be 'kemar', 'sphere', the path of a .sofa or .npz file, a folder of .sofa files, or "
                f"a list of these, got {self.head!r}"
            )
        if not 0 < self.head_distance_m <= 100:
            raise BadInput(f"shoebox head_distance_m must lie in (0, 100], got {self.head_distance_m}")
        if self.materials not in ("none", "random"):
            raise BadInput(f"shoebox materials must be 'none' or 'random', got {self.materials!r}")
        if self.decay not in ("diffuse", "specular"):
            raise BadInput(f"shoebox decay must be 'diffuse' or 'specular', got {self.decay!r}")
        if self.onset not in ("physical", "direct_at_zero"):
            raise BadInput(f"shoebox onset must be 'physical' or 'direct_at_zero', got {self.onset!r}")
        if not 0 <= self.directivity_db <= 60:
            raise BadInput(f"shoebox directivity_db must lie in 0…60, got {self.directivity_db}; a mouth has about 20")
        if not 0 <= self.order <= 20:
            raise BadInput(f"shoebox order must lie in 0…20, got {self.order}; 8 is usual")
        if not 0 < self.max_seconds <= 20:
            raise BadInput(f"shoebox max_seconds must lie in (0, 20], got {self.max_seconds}")
        if not 0 < self.min_rt60_s <= self.max_rt60_s:
            raise BadInput(f"shoebox needs 0 < min_rt60_s <= max_rt60_s, got {self.min_rt60_s} and {self.max_rt60_s}")
        if not 0.1 <= self.min_distance_m < self.max_distance_m:
            raise BadInput(
                f"shoebox needs 0.1 <= min_distance_m < max_distance_m, got {self.min_distance_m} "
                f"and {self.max_distance_m}"
            )
        if not (0 < self.listener_margin_m <= 0.6 and 0 < self.source_margin_m <= 0.6):
            raise BadInput("shoebox listener_margin_m and source_margin_m must lie in (0, 0.6] metres")
        if self.max_aspect < 1 or self.median_area_m2 <= 0 or self.mean_height_m <= 0 or self.median_rt60_s <= 0:
            raise BadInput("shoebox max_aspect must be at least 1, and areas, heights and times positive")

    @property
    def heads(self) -> tuple[str, ...]:
        """``head`` as a list of names."""
        return (self.head,) if isinstance(self.head, str) else tuple(self.head)
