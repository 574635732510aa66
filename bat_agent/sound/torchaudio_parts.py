"""torchaudio, imported by the few things that need it and by nothing else.

Its binary fits some builds of torch and not others, whatever its metadata say (``docs/torch_versions.md``), so one that
does not load must cost no more than what is computed with it. This is the only module that imports it.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any

from bat_agent.errors import PluginError

FAILURES = (ImportError, OSError, RuntimeError)
"""How it fails beside a torch it was not built for: a missing module, a missing symbol, another CUDA version."""


def torchaudio_part(name: str, purpose: str) -> Any:
    """The module ``torchaudio.<name>``.

    Raises :class:`~bat_agent.errors.PluginError`, beginning with ``purpose``, where torchaudio does not load.
    """
    try:
        return importlib.import_module(f"torchaudio.{name}")
    except FAILURES as error:
        import torch

        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"{purpose} needs torchaudio, which does not load beside torch {torch.__version__} ({cause}): "
            f"pip install --no-deps torchaudio=={torchaudio_for(torch.__version__)}"
        ) from error


def torchaudio_for(torch_version: str) -> str:
    """The release of torchaudio that loads beside a torch; of those tried, none does beside all."""
    from packaging.version import Version

    return "2.11.0" if Version(torch_version) < Version("2.13") else "2.11.1"


@cache
def let_transformers_load() -> None:
    """Call this before a model of transformers is imported: where torchaudio does not load, it is hidden from it.

    transformers (5.24; 5.0 did not) and so peft import torchaudio with every model as soon as it is installed, with
    language models too, which never use it.
    """
    try:
        importlib.import_module("torchaudio")
        return
    except FAILURES:
        pass
    sys.modules["torchaudio"] = None  # type: ignore[assignment]  # Python's own way to say that there is none
    try:
        from transformers.utils import is_torchaudio_available

        is_torchaudio_available.cache_clear()  # whoever imported transformers before us had it look already
        importlib.import_module("transformers.audio_utils")
    except ImportError:
        pass  # no transformers: whoever wants it says so
    finally:
        del sys.modules["torchaudio"]
