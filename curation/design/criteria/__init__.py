"""Criteria, one file each: all of the shape of `base.Criterion`, solved, drawn, explained and certified alike."""
