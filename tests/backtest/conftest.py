"""A batch that is sent out and answered, and its store."""

from tests.desk.labels import made, store

__all__ = ["made", "store"]
