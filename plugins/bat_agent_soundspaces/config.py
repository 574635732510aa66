"""Options of the simulator ``soundspaces``."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from bat_agent.errors import BadInput
from bat_agent.scene import Onset

Quality = Literal["fast", "high"]
Output = Literal["binaural", "mono", "ambisonics"]
HeadLevel = Literal["unity", "engine"]
HOUSES = "houses"
PRESETS: dict[str, tuple[int, int]] = {"fast": (500, 50), "high": (5000, 200)}
"""Quality → indirect rays and their depth. ``high`` is the engine's default; both keep its other defaults."""
CHANNELS: dict[str, int] = {"binaural": 2, "mono": 1, "ambisonics": 4}
"""Output → channels of a RIR; ambisonics are first order, N3D, in the order [W, +Y, +Z, +X] of the scene's axes."""
NOT_ACOUSTIC = frozenset(
    {"scenes", "houses", "rooms_per_house", "houses_seed", "cache", "workers", "timeout_s", "memory_limit_gb"}
    | {"onset", "random_heading", "min_distance_m", "max_distance_m"}
)
"""Options that change which scenes are drawn or how the work is done, but not what a given scene sounds like."""


@dataclass(frozen=True)
class SoundspacesConfig:
    """How to render, and where drawn scenes come from."""

    scenes: str = HOUSES
    """Where drawn scenes come from: a mesh file (GLB, OBJ, PLY), a folder of them, a glob pattern with ``*``, or
    ``houses`` for generated furnished houses."""
    houses: int = 32
    """How many different houses are generated."""
    rooms_per_house: int | None = None
    """Rooms of a generated house; ``None`` draws the number."""
    houses_seed: int = 0
    """Seed of the generated houses; house i depends on it, on ``rooms_per_house`` and on i alone."""
    cache: str | None = None
    """Folder for generated houses; ``None`` is ``$XDG_CACHE_HOME/bat-agent/houses`` (``~/.cache/…``)."""
    materials: str | None = None
    """File of the acoustic material table; ``None`` takes the one that ships."""
    quality: Quality = "fast"
    """``fast``: 500 rays, depth 50 (SoundSpaces' own speed setting); ``high``: 5000 rays, depth 200 (the engine's
    default), about 30 times slower. Depth also bounds the length of the RIR: 50 ends a living room after 0.5 s."""
    rays: int | None = None
    """Indirect rays instead of the preset's."""
    depth: int | None = None
    """Reflections of a ray instead of the preset's."""
    output: Output = "binaural"
    """``binaural``; ``mono``: pressure at the centre of the head, no head; ``ambisonics``: first order, N3D, channels
    [W, +Y, +Z, +X] on the scene's axes, so the same for every heading."""
    hrtf: str | None = None
    """SOFA file of a head (``.sofa``, any convention of :mod:`bat_agent.sound.sofa`; needs the extra ``sofa``);
    ``None`` is the engine's own head, that of the released RIRs. Costs 0.7 s a render."""
    head_distance_m: float = 1.5
    """Of a SOFA file with several radii, the ring whose radius is nearest to this (by its ratio) is the head."""
    allow_implausible: bool = False
    """Take a SOFA file that sounds like no head (ears exchanged, radians called degrees …) with a warning."""
    head_level: HeadLevel = "unity"
    """``unity``: the head passes white noise from straight ahead at 0 dB, as in the simulator ``shoebox``: level then
    means the same distance with any head; ``engine``: as it comes, its own head 7.5 dB louder."""
    indirect_sh_order: int = 1
    """Spherical-harmonic order of reflected sound, 0…3."""
    transmission: bool = True
    """Sound passes through walls, as the material table says."""
    max_seconds: float = 2.0
    """RIRs are cut here; they are shorter where the rays end before."""
    threads: int = 1
    """Threads of one engine; only 1 gives the same bytes each time."""
    workers: int = 1
    """Engine processes that ``render_many`` keeps busy."""
    timeout_s: float = 120.0
    """A render that takes longer is an error."""
    memory_limit_gb: float = 4.0
    """Address space of an engine process."""
    onset: Onset = "physical"
    """Onset policy written into drawn scenes."""
    random_heading: bool = False
    """Draw headings uniformly from 0…360°; otherwise 0, as in the released reverberations."""
    min_distance_m: float = 0.3
    """Least distance of a drawn source from the listener."""
    max_distance_m: float = 10.0
    """Greatest distance of a drawn source from the listener."""

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        choices: dict[str, tuple[Any, ...]] = {
            "quality": tuple(PRESETS),
            "output": tuple(CHANNELS),
            "head_level": ("unity", "engine"),
            "onset": ("physical", "direct_at_zero"),
            "indirect_sh_order": (0, 1, 2, 3),
            "threads": (1,),
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                wanted = " or ".join(repr(one) for one in allowed)
                raise BadInput(f"soundspaces {name} must be {wanted}, got {value!r}")
        if not self.scenes:
            raise BadInput(f"soundspaces scenes must be a mesh file, a folder, a pattern or {HOUSES!r}, got nothing")
        if self.hrtf is not None and not self.hrtf.lower().endswith(".sofa"):
            raise BadInput(f"soundspaces hrtf must be a file ending in .sofa, got {self.hrtf!r}")
        if self.hrtf is not None and self.output != "binaural":
            raise BadInput(f"soundspaces hrtf needs output 'binaural', got output {self.output!r}; leave hrtf out")

    def _check_ranges(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "houses": (1, 1_000_000),
            "rooms_per_house": (1, 12),
            "houses_seed": (0, 2**63),
            "rays": (1, 100_000),
            "depth": (1, 1000),
            "max_seconds": (0.01, 20),
            "head_distance_m": (0.01, 100),
            "workers": (1, 256),
            "timeout_s": (1, 86_400),
            "memory_limit_gb": (1, 1024),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise BadInput(f"soundspaces {name} must lie in {low:g}…{high:g}, got {value!r}")
        if not 0.2 <= self.min_distance_m < self.max_distance_m < math.inf:
            raise BadInput(
                f"soundspaces needs 0.2 <= min_distance_m < max_distance_m, got {self.min_distance_m} and "
                f"{self.max_distance_m}"
            )

    @property
    def ray_count(self) -> int:
        """Indirect rays: ``rays``, or the preset's."""
        return PRESETS[self.quality][0] if self.rays is None else self.rays

    @property
    def ray_depth(self) -> int:
        """Reflections of a ray: ``depth``, or the preset's."""
        return PRESETS[self.quality][1] if self.depth is None else self.depth

    def acoustic_options(self) -> dict[str, Any]:
        """The options that decide what a given scene sounds like, JSON-able, as ``load_simulator`` takes them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in NOT_ACOUSTIC}
