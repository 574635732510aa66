"""Sound absorption of usual building materials, and plausible choices of them for drawn rooms.

Energy absorption coefficients for random incidence in octave bands, as tabulated in M. Vorländer, "Auralization",
Springer 2008, annex "Tables of random-incidence absorption coefficients"; where the table ends at 4 kHz, 8 kHz repeats
that value.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput

BANDS_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
MID_BANDS = (2, 3)
"""Where 500 Hz and 1 kHz stand in :data:`BANDS_HZ`: what a single reverberation time speaks of (ISO 3382-1)."""
MAX_ABSORPTION = 0.99

MATERIALS: dict[str, tuple[float, ...]] = {
    # walls
    "brick": (0.03, 0.03, 0.03, 0.04, 0.05, 0.07, 0.07),  # stuccoed with a rough finish
    "brick_painted": (0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02),  # smooth, flush pointing
    "concrete": (0.02, 0.03, 0.03, 0.03, 0.04, 0.07, 0.07),  # rough
    "plaster": (0.01, 0.02, 0.02, 0.03, 0.03, 0.04, 0.04),  # rendered brickwork
    "plasterboard": (0.15, 0.10, 0.06, 0.04, 0.04, 0.05, 0.05),  # 2 · 13 mm on steel frame, mineral wool behind
    "wood_panelling": (0.27, 0.23, 0.22, 0.15, 0.10, 0.07, 0.06),  # 12 mm on frame
    "plywood": (0.42, 0.21, 0.10, 0.08, 0.06, 0.06, 0.06),  # thin panelling
    "glass_window": (0.10, 0.05, 0.04, 0.03, 0.03, 0.03, 0.03),  # 0.68 kg/m²
    "double_glazing": (0.15, 0.05, 0.03, 0.03, 0.02, 0.02, 0.02),  # 2–3 mm glass, gap above 30 mm
    "wooden_door": (0.14, 0.10, 0.06, 0.08, 0.10, 0.10, 0.10),  # solid
    "curtain_light": (0.05, 0.06, 0.39, 0.63, 0.70, 0.73, 0.73),  # 0.2 kg/m², 90 mm before the wall
    "curtain_heavy": (0.30, 0.45, 0.65, 0.56, 0.59, 0.71, 0.71),  # cotton, 0.5 kg/m², draped to 3/4 area
    "acoustic_plaster": (0.17, 0.36, 0.66, 0.65, 0.62, 0.68, 0.68),  # about 25 mm
    "mineral_wool": (0.15, 0.70, 0.60, 0.60, 0.85, 0.90, 0.90),  # 50 mm, 40 kg/m³, glued to the wall
    # floors
    "ceramic_tiles": (0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.02),  # smooth
    "marble": (0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.02),
    "linoleum": (0.02, 0.03, 0.03, 0.03, 0.03, 0.02, 0.02),  # or rubber, cork, asphalt; on concrete
    "wooden_floor": (0.18, 0.12, 0.10, 0.09, 0.08, 0.07, 0.07),  # 16 mm on studs or planks
    "carpet_thin": (0.02, 0.04, 0.08, 0.20, 0.35, 0.40, 0.40),  # cemented to concrete
    "carpet": (0.08, 0.08, 0.30, 0.60, 0.75, 0.80, 0.80),  # 9 mm tufted pile on felt
    # ceilings
    "plasterboard_ceiling": (0.20, 0.15, 0.10, 0.08, 0.04, 0.02, 0.02),  # on battens, large air space above
    "fissured_tile": (0.49, 0.53, 0.53, 0.75, 0.92, 0.99, 0.99),
    "metal_panel": (0.59, 0.80, 0.82, 0.65, 0.27, 0.23, 0.23),  # backed by 20 mm tiles
}

_WALLS = ("plaster", "plasterboard", "brick", "brick_painted", "concrete", "wood_panelling")
_DRESSED_WALLS = ("glass_window", "double_glazing", "curtain_light", "curtain_heavy", "wooden_door", "plywood")
_FLOORS = ("wooden_floor", "linoleum", "ceramic_tiles", "carpet_thin", "carpet")
_CEILINGS = ("plaster", "plasterboard_ceiling", "concrete", "wood_panelling", "fissured_tile")
_DRESSED_SHARE = 0.25


def check_names(names: Sequence[str]) -> None:
    """Raises :class:`~bat_agent.errors.BadInput` for a name that is not in :data:`MATERIALS`."""
    for name in names:
        if name not in MATERIALS:
            near = difflib.get_close_matches(name, MATERIALS, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise BadInput(f"shoebox knows no wall material {name!r}{hint}; it knows {', '.join(sorted(MATERIALS))}")


def absorption(names: Sequence[str]) -> NDArray[np.float64]:
    """(6, 7) energy absorption of the six walls in the order of :class:`bat_agent.scene.Room`, one or six names given.

    Raises :class:`~bat_agent.errors.BadInput` for a name that is not in :data:`MATERIALS`.
    """
    check_names(names)
    return np.broadcast_to(np.array([MATERIALS[name] for name in names]), (6, len(BANDS_HZ)))


def random_materials(rng: np.random.Generator) -> tuple[str, ...]:
    """Six plausible names: walls alike except for windows, doors and curtains; a floor, and a ceiling."""
    base = rng.choice(_WALLS)
    dressed = rng.random(4) < _DRESSED_SHARE
    west, east, north, south = (str(rng.choice(_DRESSED_WALLS)) if other else str(base) for other in dressed)
    return west, east, str(rng.choice(_FLOORS)), str(rng.choice(_CEILINGS)), north, south
