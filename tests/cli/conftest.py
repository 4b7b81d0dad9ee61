"""A solved batch with its store and its people."""

from tests.desk.acting import desk, solved
from tests.desk.viewing import ready

__all__ = ["desk", "ready", "solved"]
