"""Simulator ``measured``: rooms that were measured, as binaural room impulse responses in files."""
