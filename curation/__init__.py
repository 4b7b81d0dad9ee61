"""Pairwright: which LLM response pairs deserve a human preference label."""

__version__ = "0.3.0"
