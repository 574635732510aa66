"""Reasoner ``rules``: the rules as the module that training and saving expect of a reasoner."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent_rules.rules import NOT_UNDERSTOOD as NOT_UNDERSTOOD
from bat_agent_rules.rules import Rules, per_clip


class RulesReasoner(Rules, nn.Module):
    """Answers from the encoder's heads alone, as :class:`~bat_agent_rules.rules.Rules` says."""

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Zero, with a gradient that reaches nothing: rules have nothing to train."""
        per_clip(encoding, questions)
        if len(answers) != len(questions):
            raise BadInput(f"got {len(answers)} answers to {len(questions)} questions, expected one to each")
        return encoding.tokens.new_zeros(()).requires_grad_()
