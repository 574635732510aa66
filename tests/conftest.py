"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

# Shapes in signatures are checked in tests; for this the hook must be there before the modules are imported.
CHECKED = ["bat_agent.features", "bat_agent.acoustics", "bat_agent_spatial_ast", "bat_agent_baselines"]
install_import_hook(CHECKED, "beartype.beartype")

# Two OpenMP threads on two shared cores can be several times slower than one.
torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real recordings and the real RIR; they are not part of the repository."""
    root = Path(os.environ.get("BAT_SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()
    if not (root / "data").is_dir():
        pytest.skip(f"needs the real recordings under {root} (set BAT_SHARED)")
    return root
