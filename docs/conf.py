"""Sphinx configuration; `make docs` builds with every warning an error."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The API pages describe this working tree, whatever version may be installed.
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "envs")]

import bat_agent  # noqa: E402 - found through the line above

project = "bat-agent"
author = "the bat-agent contributors"
copyright = "the bat-agent contributors, Apache-2.0"
release = version = bat_agent.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
html_title = f"bat-agent {release}"

# Every heading down to ### can be linked to as #its-words; tests/docs checks that the targets exist.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
