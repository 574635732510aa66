"""Ambisonic recordings, turned and rendered to the ears of the head that the model knows."""

from __future__ import annotations

from bat_agent.ambisonics.formats import FORMS, Form, to_ambix
from bat_agent.ambisonics.rendering import Renderer, to_ears

__all__ = ["FORMS", "Form", "Renderer", "to_ambix", "to_ears"]
