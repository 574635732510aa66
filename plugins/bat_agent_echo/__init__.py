"""The null plugin: an encoder, a reasoner and a simulator that take no training and no weights.

For tests and first programs, where what matters is that sound, scenes and questions pass through.
"""
