"""A batch that is sent out and answered, and its store."""

from tests.desk.labels import made, store
from tests.desk.rated import home

__all__ = ["home", "made", "store"]
