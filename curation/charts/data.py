"""The numbers of a figure: as rows for a file, and as a sentence for who cannot see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

RISKY = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a text that begins so for a formula


def figure_rows(figure: go.Figure) -> pd.DataFrame:
    """Every mark of a figure as a row: its series, its place in the units of the axes, its size and its text.

    A histogram and a box give the values they were made of; a field gives one row a cell. Bands that only repeat a
    line's interval are left out.
    """
    names = [_title(figure.layout.xaxis, "x"), _title(figure.layout.yaxis, "y")]
    if names[0] == names[1]:
        names = [f"{names[0]} (x)", f"{names[1]} (y)"]
    parts = [_rows(trace, names) for trace in figure.data if trace.hoverinfo != "skip"]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["series", *names])
    return rows.dropna(axis="columns", how="all")


def figure_csv(figure: go.Figure) -> bytes:
    """`figure_rows` as CSV in UTF-8 with its mark; a text that a spreadsheet would take for a formula is escaped."""
    rows = figure_rows(figure)
    for column in rows.columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            rows[column] = pd.Series([_cell(value) for value in rows[column]], index=rows.index, dtype=object)
    return rows.to_csv(index=False).encode("utf-8-sig")


def described(figure: go.Figure) -> str:
    """A figure in a sentence: what stands against what, and its series with how many marks each."""
    x, y = _title(figure.layout.xaxis, ""), _title(figure.layout.yaxis, "")
    parts = [
        f"{str(trace.name) if trace.name else 'values'} ({_count(trace):,})"
        for trace in figure.data if trace.hoverinfo != "skip"
    ]  # fmt: skip
    axes = " against ".join(text for text in (y, x) if text) or "Chart"
    more = f" and {len(parts) - 12} more" if len(parts) > 12 else ""
    return f"{axes}: {', '.join(parts[:12])}{more}." if parts else f"{axes}."


def _title(axis: Any, otherwise: str) -> str:
    text = axis.title.text if axis is not None and axis.title is not None else None
    return str(text) if text else otherwise


def _cell(value: object) -> object:
    text = value if isinstance(value, str) else ""
    return f"'{text}" if text.startswith(RISKY) else value


def _count(trace: Any) -> int:
    if trace.type == "heatmap":
        return int(np.asarray(trace.z).size)
    return max((len(values) for values in (trace.x, trace.y) if values is not None), default=0)


def _rows(trace: Any, names: list[str]) -> pd.DataFrame:
    series = str(trace.name) if trace.name else ""
    if trace.type == "heatmap":
        z = np.asarray(trace.z, dtype=float)
        x = list(trace.x) if trace.x is not None else list(range(z.shape[1]))
        y = list(trace.y) if trace.y is not None else list(range(z.shape[0]))
        value = _title(trace.colorbar, "value")
        return pd.DataFrame(
            {names[0]: x * len(y), names[1]: np.repeat(np.asarray(y, dtype=object), len(x)), value: z.ravel()}
        )
    count = _count(trace)
    columns: dict[str, Any] = {"series": [series] * count}
    for name, values in zip(names, (trace.x, trace.y), strict=True):
        columns[name] = list(values) if values is not None else [None] * count
    scale = trace.marker.color if "marker" in trace and trace.type not in ("box", "histogram") else None
    if isinstance(scale, np.ndarray | tuple | list) and len(scale) == count and not isinstance(scale[0], str):
        columns[_title(trace.marker.colorbar, "colour")] = list(scale)
    for kind, given in (("error", trace.error_y if "error_y" in trace else None),):
        if given is not None and given.array is not None and len(given.array) == count:
            columns[kind] = list(given.array)
    if "customdata" in trace and trace.customdata is not None and len(trace.customdata) == count:
        told = np.asarray(trace.customdata, dtype=object).reshape(count, -1)
        for n in range(told.shape[1]):
            columns["id" if told.shape[1] == 1 else f"told_{n + 1}"] = told[:, n]
    if "text" in trace and isinstance(trace.text, np.ndarray | tuple | list) and len(trace.text) == count:
        columns["text"] = list(trace.text)
    return pd.DataFrame(columns)
