"""A running dashboard and a browser."""

from tests.desk.dashboards import address, browser, home

__all__ = ["address", "browser", "home"]
