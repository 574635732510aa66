"""Options that have another name now: read under their old one, with one sentence, until the next release."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence

from bat_agent.errors import OldNameWarning

REMOVED_IN = "0.3"
_OF_SIMULATOR = {"--option": "--simulator-option"}
BAT_AGENT: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("render",): _OF_SIMULATOR,
    ("dataset",): _OF_SIMULATOR,
    ("evaluate", "manifest"): _OF_SIMULATOR,
    ("evaluate", "encoder"): {"--option": "--encoder-option"},
    (): {"--encoder-weights": "--weights"},
}
"""First words of the command line → old name → new name."""
BAT_LISTEN: Mapping[tuple[str, ...], Mapping[str, str]] = {(): {"--compute": "--device", "--device": "--microphone"}}
_COMPUTES = re.compile(r"(cpu|cuda|mps|xpu|hpu|mtia|npu|xla|vulkan|meta)(:\d+)?")


def with_new_names(arguments: Sequence[str], renamed: Mapping[tuple[str, ...], Mapping[str, str]]) -> list[str]:
    """The command line with new names in place of old ones, each remarked on with an
    :class:`~bat_agent.errors.OldNameWarning`. ``--device`` stays where it names what computes.
    """
    names: dict[str, str] = {}
    for words, pairs in renamed.items():
        if tuple(arguments[: len(words)]) == words:
            names |= pairs
    told: dict[str, str] = {}
    out: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            out += arguments[number:]
            break
        name, equals, value = argument.partition("=")
        new = names.get(name)
        value = value if equals else next(iter(arguments[number + 1 :]), "")
        if new is None or (name == "--device" and _COMPUTES.fullmatch(value)):
            out.append(argument)
            continue
        told[name] = new
        out.append(new + argument[len(name) :])
    for name, new in told.items():
        warnings.warn(
            f"{name} is called {new} now, and read until bat-agent {REMOVED_IN}", OldNameWarning, stacklevel=2
        )
    return out
