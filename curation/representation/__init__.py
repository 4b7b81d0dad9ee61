"""Texts to coordinates: hidden states of a model, extraction in parts, a fitted reference model, the space, Fisher."""
