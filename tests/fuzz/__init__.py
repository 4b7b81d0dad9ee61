"""Inputs changed at random, each read in a process of its own limits: every one must end in success or in a sentence.

`python -m tests.fuzz --inputs N --seed S [--target T]` runs as many as asked; `tests/whole/test_fuzz.py` runs some.
"""
