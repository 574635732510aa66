"""Simulator ``shoebox``: binaural room impulse responses of rectangular rooms, by image sources and a diffuse tail."""
