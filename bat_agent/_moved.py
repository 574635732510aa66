"""Modules that have moved: found under their old names for one release, with a warning that says the new one."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

REMOVED_IN = "0.3"
MOVED = {
    "audio": "sound.audio",
    "waveform": "sound.waveform",
    "acoustics": "sound.acoustics",
    "features": "sound.features",
    "ring": "sound.ring",
    "synthesis": "sound.synthesis",
    "rir_measures": "sound.rir_measures",
    "scene_file": "scenes.scene_file",
    "moving": "scenes.moving",
    "playing": "scenes.playing",
    "rendering": "scenes.rendering",
    "perception": "hearing.perception",
    "confidence": "hearing.confidence",
    "hearing_arrays": "hearing.arrays",
    "sounds": "datasets.sounds datasets.sound_libraries",
    "kept": "datasets.cache",
    "rooms": "clips.room_bank datasets.rooms",
    "sound_bank": "clips.sound_bank",
    "dry": "clips.excerpt",
    "wet": "clips.spatialise",
    "drawn": "clips.plan",
    "mixtures": "clips.mixtures",
    "batch": "clips.batch",
    "recorded": "clips.recorded",
    "imagined": "clips.oracle",
    "corpus": "clips.corpus",
    "config": "recipes.schema recipes.loading",
    "curriculum": "questions.curriculum",
    "losses": "training.losses",
    "optimizers": "training.optimizers",
    "muon": "training.muon",
    "masking": "training.helpers",
    "sharding": "distributed.sharding",
    "metrics": "evaluation.metrics hearing.targets",
    "plotting": "evaluation.plotting",
}
"""Old name → new names, all within ``bat_agent``."""


class _Finder(MetaPathFinder, Loader):
    """Stands last on ``sys.meta_path``, so it is asked only for what is not where it was looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "bat_agent" and name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """An empty module, which :meth:`exec_module` puts aside."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module under its new name in the place of the old one; Python takes what stands there."""
        new = [f"bat_agent.{name}" for name in MOVED[module.__name__.partition(".")[2]].split()]
        said = f"{module.__name__} is now {' and '.join(new)}; the old name goes with bat-agent {REMOVED_IN}"
        # The frames in between are the import system's, which do not count: this is told of the line that imports.
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        found = [importlib.import_module(name) for name in new]
        if len(found) == 1:
            sys.modules[module.__name__] = found[0]
        for part in found:
            module.__dict__.update({name: value for name, value in vars(part).items() if not name.startswith("__")})


def find_moved_modules() -> None:
    """Let old names be imported."""
    sys.meta_path.append(_Finder())
