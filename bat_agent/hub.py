"""Why a language model could not be loaded from a folder or the hub, in one sentence with the next step."""

from __future__ import annotations


def why_not_loaded(name: str, error: Exception, option: str, kind: str = "language model") -> str:
    """What transformers' ``error`` for the model ``name`` means: gated, no network, no such model, or broken files.

    ``option`` is what the user gave the name by, e.g. ``llm``; ``kind`` what it should have been.
    """
    text = f"{error} {error.__cause__}".lower()
    if "gated" in text:
        return (
            f"{name} is a gated model; accept its licence at https://huggingface.co/{name}, run `hf auth login`, then "
            f"`hf download {name}`"
        )
    if "connect" in text or "offline" in text:
        return (
            f"{name} is not in the local cache and the hub cannot be reached; run `hf download {name}` where there is "
            f"a network and pass {option}=FOLDER"
        )
    if "not a valid model identifier" in text or "repository not found" in text:
        return f"there is neither a folder nor a hub repository {name}; check the name given as {option}="
    first = " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())
    return f"{name} cannot be loaded as a {kind} ({first}); check that its files are complete"
