"""What the base installation goes without: the extras, what each gives, and the sentence where one is missing.

Only the standard library is imported here, so that anything may use it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from bat_agent.errors import BadInput

DISTRIBUTION = "bat-agent"
LITE_DISTRIBUTION = "bat-agent-lite"
"""The same packages without what needs torch, of which either this or the above is installed."""


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
    "lite": Extra("models without torch, bat_agent.lite", {"onnxruntime": "onnxruntime"}),
    "export": Extra(
        "models exported to ONNX: bat-agent export",
        {name: name for name in ("onnx", "onnxscript", "onnxruntime")},
    ),
    "sb3": Extra(
        "vectors for Stable-Baselines3: bat_agent_envs.stable_baselines", {"stable_baselines3": "stable-baselines3"}
    ),
    "video": Extra("videos with sound: bat_agent_envs.with_sound", {"imageio_ffmpeg": "imageio-ffmpeg"}),
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
    top = (error.name or "").split(".")[0]
    if is_lite() and top in NOT_IN_LITE and isinstance(error, ModuleNotFoundError):
        return (
            f"this needs the package {NOT_IN_LITE[top]}, which {LITE_DISTRIBUTION} goes without; {how_to_have_torch()}"
        )
    extra = extra_with(error.name)
    return f"this needs {_what(error)}; {how_to_install(extra)}" if extra else None


NOT_IN_LITE = {
    "torch": "torch",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "omegaconf": "omegaconf",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "jaxtyping": "jaxtyping",
    "gymnasium": "gymnasium",
    "huggingface_hub": "huggingface_hub",
}
"""What bat-agent brings and bat-agent-lite does not: import name to the name that pip knows."""


@cache
def installed() -> tuple[str, ...]:
    """Which of the two distributions are installed here; none, where the packages run from source."""
    found = []
    for name in (DISTRIBUTION, LITE_DISTRIBUTION):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(metadata.distribution(name).metadata["Name"])
    return tuple(found)


def is_lite() -> bool:
    """Whether what is installed here is bat-agent-lite."""
    return installed() == (LITE_DISTRIBUTION,)


def how_to_have_torch() -> str:
    """The words that bring torch and all that needs it, where it is missing."""
    if is_lite():
        return f"install {DISTRIBUTION} in place of {LITE_DISTRIBUTION}"
    return f"install torch, which {DISTRIBUTION} requires"


def extra_with(module: str | None) -> str | None:
    """The extra that brings a module."""
    top = (module or "").split(".")[0]
    return next((name for name, extra in EXTRAS.items() if top in extra.packages), None)


def how_to_install(extra: str) -> str:
    """The words that bring an extra of ours, from where this installation came from: we are on no package index."""
    if is_lite() and extra == "lite":  # there it is no extra, but what all of it needs
        return "run pip install onnxruntime"
    if is_lite() and extra not in (metadata.metadata(LITE_DISTRIBUTION).get_all("Provides-Extra") or ()):
        return f"{how_to_have_torch()}, with the extra {extra}"
    distribution = LITE_DISTRIBUTION if is_lite() else DISTRIBUTION
    origin = _origin(distribution)
    url = origin.get("url", "")
    if url.startswith("file://") and "dir_info" in origin:
        editable = "--editable " if origin["dir_info"].get("editable") else ""
        return f"run pip install {editable}'.[{extra}]' in {url.removeprefix('file://')}"
    if not url:
        where = "./lite" if is_lite() else "."
        return f"run pip install '{where}[{extra}]' in a clone of {DISTRIBUTION}"
    vcs = origin.get("vcs_info")
    url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    return f"run pip install '{distribution}[{extra}] @ {url}'"


def _what(error: ImportError) -> str:
    top = (error.name or "").split(".")[0]
    known = next((extra.packages[top] for extra in EXTRAS.values() if top in extra.packages), top)
    if isinstance(error, ModuleNotFoundError) and known:
        return f"the package {known}, which is not installed"
    return f"{known or 'a package'}, which does not load ({' '.join(str(error).split())})"


def _origin(distribution: str) -> dict[str, Any]:
    """What pip noted of where we came from (PEP 610); empty where it noted nothing."""
    try:
        noted = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {}
    return dict(json.loads(noted)) if noted else {}
