"""Run by tests/core/test_registry.py where the distribution is visible; the file name hides it from a plain run."""

import pytest

import bat_agent
from bat_agent.testing import EncoderContract


class TestNightjar(EncoderContract):
    @pytest.fixture
    def encoder(self) -> bat_agent.Encoder:
        return bat_agent.load_encoder("nightjar", token_dim=6)
