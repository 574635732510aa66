"""Simulator ``soundspaces``: the SoundSpaces 2.0 acoustic engine on triangle meshes, without habitat-sim."""
