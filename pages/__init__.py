"""Thin pages: guard, one call into curation, draw."""
