"""Listening while it sounds: sources of sound, the last seconds of it, tracks of what is heard, questions and views."""
