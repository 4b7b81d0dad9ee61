"""Kinds of Fisher matrix, one file each: whose probabilities say which directions matter. The names cost no numpy."""
