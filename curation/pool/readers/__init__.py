"""Readers of candidate pools, one file a format (`base.Reader`), with every row accounted for."""
