"""A solved batch with its store and its people."""

from tests.desk.acting import desk, solved
from tests.desk.going_on import made
from tests.desk.stores import store
from tests.desk.viewing import ready

__all__ = ["desk", "made", "ready", "solved", "store"]
