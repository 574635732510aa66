"""Reasoner `scene-prompt`: what the encoder perceives, put into words for any chat model; sound stays here."""
