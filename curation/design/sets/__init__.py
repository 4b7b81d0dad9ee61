"""Feasible designs: the constraints, linear maximisation over them, and what a label is worth to each."""
