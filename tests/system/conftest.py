"""A world of files to be changed."""

from tests.desk.odd import world

__all__ = ["world"]
