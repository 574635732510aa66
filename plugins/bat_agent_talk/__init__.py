"""Reasoner ``talk``: a small language model turns a question in anybody's words into a query; the heads answer it."""
