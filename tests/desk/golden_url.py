"""Addresses of the dashboard as the app itself writes them: its pages, and every key with a value that is not usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app.py"
# Every key, at a value that is not its default; files are named too, which the Pool page does not open.
ALL = {
    "budget": "17", "ridge": "0.1234567", "ridge_kind": "absolute", "prior_power": "0.25", "dim": "48", "normalize": "0",
    "pca": "raw", "length": "0", "criterion": "determinant", "fisher": "empirical", "temperature": "0.3333333333333333", "per_token": "0",
    "spread": "balanced", "max_labels": "2", "per_prompt": "3", "quotas": "a=1..5;b=..9", "generator_share": "0.7",
    "max_length_difference": "0.30000001", "cost": "characters", "overlap": "0.123456789", "select": "exact",
    "seed": "11", "pins": "pins.csv", "exclude": "gone.csv", "batch": "0123456789abcdef", "pair": "fedcba9876543210",
    "direction": "3", "scenario": "heavy", "picked": "0123456789ab", "features": "other.parquet", "pool": "other.jsonl",
}  # fmt: skip


def address(**query: str) -> dict[str, str]:
    """The address that the app shows after it was opened at one."""
    with mock.patch.dict("os.environ", {"CURATION_ALLOW_REMOTE": "1"}):  # the simulated browser has no address
        app = AppTest.from_file(str(APP), default_timeout=120)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
    assert not app.exception
    return {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}


def pages() -> dict[str, list[str]]:
    """Group -> its pages, "Title at /address"."""
    from pages import _shared

    with (
        mock.patch("streamlit.Page", lambda path, **named: f"{named['title']} at /{named['url_path']}"),
        mock.patch.object(_shared.st, "navigation", lambda groups, **named: groups),
    ):
        return dict(_shared.navigation())


def keys() -> set[str]:
    """Every key that an address may hold: settings of the view, and what single pages keep."""
    from dataclasses import fields

    from curation.dashboard.view import View
    from pages._shared import PAGE_KEYS

    return {field.name for field in fields(View)} | set(PAGE_KEYS)


def round_trip(values: dict[str, Any]) -> dict[str, Any]:
    """The values after they were written to an address and read from it."""
    from curation.dashboard.view import View, view_from_query

    read = view_from_query(View(**values).to_query())
    return {name: getattr(read, name) for name in values}


def golden() -> dict[str, Any]:
    """Pages, and addresses: of everything at its default, and of nothing at its default."""
    return {"pages": pages(), "usual": address(), "unusual": address(**ALL)}
