"""A reviewed batch, ready to be signed."""

from tests.desk.signing import desk, reviewed, solved

__all__ = ["desk", "reviewed", "solved"]
