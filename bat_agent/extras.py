"""What the base installation goes without: the extras, what each gives, and the sentence where one is missing.

Only the standard library is imported here, so that anything may use it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from bat_agent.errors import BadInput

DISTRIBUTION = "bat-agent"


@dataclass(frozen=True)
class Extra:
    """One of the extras that pyproject.toml declares."""

    gives: str
    """What works with it and not without."""
    packages: Mapping[str, str]
    """What is imported of it: import name to the name that pip knows."""


EXTRAS: dict[str, Extra] = {
    "train": Extra(
        "training, evaluation, calibration; the encoder audiomae",
        {
            "accelerate": "accelerate",
            "sklearn": "scikit-learn",
            "tensorboard": "tensorboard",
            "torchaudio": "torchaudio",
        },
    ),
    "llm": Extra(
        "language models: the reasoners llama, scene-prompt and talk",
        {name: name for name in ("transformers", "tokenizers", "peft", "accelerate", "jinja2")},
    ),
    "talk": Extra("language models out of GGUF files: bat-agent llm get", {"gguf": "gguf"}),
    "listen": Extra(
        "microphones, the page and the feed of bat-listen; bat-agent serve",
        {name: name for name in ("sounddevice", "websockets", "starlette", "uvicorn")},
    ),
    "sofa": Extra("heads and measured rooms from SOFA files", {"sofar": "sofar", "netCDF4": "netcdf4"}),
    "soundspaces": Extra(
        "rooms of any shape: the simulator soundspaces",
        {"rlr_audio_propagation": "rlr-audio-propagation", "trimesh": "trimesh"},
    ),
    "ray": Extra("data sets rendered on a Ray cluster", {"ray": "ray"}),
    "embed": Extra(
        "free answers scored by text embeddings",
        {"sentence_transformers": "sentence-transformers"},
    ),
    "contracts": Extra("the contracts for your own plugins, bat_agent.testing", {"pytest": "pytest"}),
}


@contextlib.contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Around the imports of what ``extra`` brings; ``purpose`` begins the sentence where something is missing.

    Raises :class:`~bat_agent.errors.BadInput`.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("bat_agent"):  # no extra brings what is ours
            raise
        raise BadInput(f"{purpose} needs {_what(error)}; {how_to_install(extra)}") from error


def sentence_about(error: ImportError) -> str | None:
    """What to say of an import that failed where no purpose is known; ``None`` where no extra brings the module."""
    extra = extra_with(error.name)
    return f"this needs {_what(error)}; {how_to_install(extra)}" if extra else None


def extra_with(module: str | None) -> str | None:
    """The extra that brings a module."""
    top = (module or "").split(".")[0]
    return next((name for name, extra in EXTRAS.items() if top in extra.packages), None)


def how_to_install(extra: str) -> str:
    """The words that bring an extra of ours, from where this installation came from: we are on no package index."""
    origin = _origin()
    url = origin.get("url", "")
    if url.startswith("file://") and "dir_info" in origin:
        editable = "--editable " if origin["dir_info"].get("editable") else ""
        return f"run pip install {editable}'.[{extra}]' in {url.removeprefix('file://')}"
    if not url:
        return f"run pip install '.[{extra}]' in a clone of {DISTRIBUTION}"
    vcs = origin.get("vcs_info")
    url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    return f"run pip install '{DISTRIBUTION}[{extra}] @ {url}'"


def _what(error: ImportError) -> str:
    top = (error.name or "").split(".")[0]
    known = next((extra.packages[top] for extra in EXTRAS.values() if top in extra.packages), top)
    if isinstance(error, ModuleNotFoundError) and known:
        return f"the package {known}, which is not installed"
    return f"{known or 'a package'}, which does not load ({' '.join(str(error).split())})"


def _origin() -> dict[str, Any]:
    """What pip noted of where we came from (PEP 610); empty where it noted nothing."""
    try:
        noted = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {}
    return dict(json.loads(noted)) if noted else {}
