"""Scenes as files, at rest and moving, and which simulator renders them; the scene itself is :mod:`bat_agent.scene`."""
