"""Pools to solve, and a solved batch with its store and its people."""

from tests.desk.acting import desk, solved
from tests.desk.commands import dev, small
from tests.desk.viewing import ready

__all__ = ["desk", "dev", "ready", "small", "solved"]
