"""Reasoner `llama`: a Llama-architecture language model that reads an encoder's tokens through a projector."""
