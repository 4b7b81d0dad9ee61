"""A solved batch from which others go on."""

from tests.desk.going_on import made

__all__ = ["made"]
