"""Contracts for plugin authors: subclass one in a test module, give its one fixture, and run pytest.

::

    class TestMyEncoder(EncoderContract):
        @pytest.fixture
        def encoder(self):
            return bat_agent.load_encoder("my-encoder")
"""

from bat_agent.extras import needed

with needed("contracts", "bat_agent.testing"):
    import pytest

# Before the import, so that a failing contract shows the values it compared.
pytest.register_assert_rewrite("bat_agent.testing.contracts")

from bat_agent.testing.contracts import EncoderContract, ReasonerContract, SimulatorContract  # noqa: E402

__all__ = ["EncoderContract", "ReasonerContract", "SimulatorContract"]
