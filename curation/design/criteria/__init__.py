"""Criteria, one file each: all of the shape of `base.Objective`, solved and certified alike."""
