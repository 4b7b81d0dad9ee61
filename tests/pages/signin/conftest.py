"""The workspace of a dashboard that asks who is there."""

from tests.desk.signing_in import home

__all__ = ["home"]
