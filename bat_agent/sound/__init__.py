"""Samples: reading and resampling recordings, level, features, and what is synthesised."""
