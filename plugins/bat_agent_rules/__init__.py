"""Reasoner `rules`: reads the question by keywords and answers from the encoder's heads, without a language model."""
