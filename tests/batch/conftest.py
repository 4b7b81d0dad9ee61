"""A batch that is sent out and answered."""

from tests.desk.labels import made

__all__ = ["made"]
