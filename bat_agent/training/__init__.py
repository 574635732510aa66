"""The parts of a training run: what a stage minimises, and what it leaves in its folder."""
