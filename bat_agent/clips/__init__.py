"""Clips made of sounds and rooms, for training and evaluation; to be read as plan, excerpt, spatialise, mixtures."""
