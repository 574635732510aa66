"""Replies with the probabilities of their alternatives, for all that answers."""

from __future__ import annotations

import math

from bat_agent.interfaces import Reply
from bat_agent.questions.answers import YES_NO


def yes_no(share: float, yes: bool | None = None) -> Reply:
    """``Yes`` if the statement is likelier than not, or as the caller has decided."""
    share = min(max(share, 0.0), 1.0)
    yes = share > 0.5 if yes is None else yes
    shares = {YES_NO[0]: share, YES_NO[1]: 1 - share}
    return weighed(YES_NO[not yes], shares)


def choice(shares: dict[str, float]) -> Reply:
    """The likeliest."""
    return weighed(max(shares, key=lambda text: shares[text]), shares)


def either(names: tuple[str, str], first: float) -> Reply:
    """One of two names; the same name twice leaves no choice."""
    return Reply(names[0], 1.0) if names[0] == names[1] else choice({names[0]: first, names[1]: 1 - first})


def weighed(text: str, shares: dict[str, float]) -> Reply:
    """One of several, with all of them, likeliest first."""
    return Reply(text, shares[text], sorted(shares.items(), key=lambda item: -item[1]))


def gaussian_share(deviations: float) -> float:
    """Φ: the share of a Gaussian below so many standard deviations."""
    return 0.5 * (1 + math.erf(deviations / math.sqrt(2)))
