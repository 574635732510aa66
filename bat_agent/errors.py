"""The errors a user may cause: one sentence that says what was wrong, what was expected and what to do."""

from __future__ import annotations


class BatAgentError(Exception):
    """Base of every error this library raises on purpose; the command line prints it without a traceback."""


class BadInput(BatAgentError, ValueError):
    """Something the user passed cannot be used as it is."""


def check_range(whose: str, options: object, least: float, most: float, *names: str) -> None:
    """Raise :class:`BadInput` where one of the named options, a number or ``None``, does not lie in least…most; NaN
    never does.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise BadInput(f"{whose} {name} must lie in {least:g}…{most:g}, got {value}")


class Unavailable(BadInput):
    """What a component depends on, such as a server, cannot be used: no other question would fare better now."""


class PluginError(BatAgentError):
    """A plugin is missing, clashes with another one or fails to import."""


class WeightsError(BatAgentError):
    """Weights are missing, or do not fit the model they are meant for."""


class OldNameWarning(FutureWarning):
    """A key that has another name now was read under its old one, for one release; commands print it as a note."""
