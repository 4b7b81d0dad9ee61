"""Readers of candidate pools, one file a family of formats, with every row accounted for."""
