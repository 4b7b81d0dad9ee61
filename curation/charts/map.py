"""The map of pair feature differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from curation.charts.style import CATEGORIES, DESIGN, POINTS, UNIFORM, WARN, figure

NAMED = 9  # categories with a colour and a line in the legend of their own
OTHER = "other"


def pair_map(
    frame: pd.DataFrame, colour: str, *, numeric: bool, title: str, marked: str | None = None, lasso: bool = False
) -> go.Figure:
    """Points of pairs: candidates small and pale, the batch large and outlined.

    frame: columns x, y, pair_id, selected (bool), label (hover text) and `colour`. numeric: whether `colour` is a
    number (a scale) or a category (one colour each for the nine most frequent; the others share grey). marked: pair_id
    of the point that a ring is drawn round. lasso: dragging draws a lasso; else it moves the map, and a click picks.
    """
    out = figure(x="UMAP 1 (no unit)", y="UMAP 2 (no unit)", height=500)
    if numeric:
        _scaled(out, frame, colour, title)
    else:
        _named(out, frame, colour)
    here = frame[frame["pair_id"] == marked]
    if len(here):
        ring = _points(here, True, color="rgba(0,0,0,0)")
        ring.marker.update(size=22, line={"width": 3, "color": WARN}, opacity=1)
        ring.name = f"pair {marked}"
        out.add_trace(ring)
    out.update_layout(dragmode="lasso" if lasso else "pan", legend={"itemsizing": "constant"})
    out.update_xaxes(showticklabels=False, showgrid=False)
    out.update_yaxes(showticklabels=False, showgrid=False)
    return out


def _points(part: pd.DataFrame, selected: bool, **marker: object) -> go.Scattergl:
    line = {"width": 1.2, "color": "#111111"} if selected else {"width": 0}
    return go.Scattergl(
        x=part["x"],
        y=part["y"],
        mode="markers",
        customdata=part["pair_id"],
        text=part["label"],
        hovertemplate="%{text}<extra></extra>",
        marker={"size": 10 if selected else 5, "opacity": 0.95 if selected else 0.55, "line": line, **marker},
    )


def _scaled(out: go.Figure, frame: pd.DataFrame, colour: str, title: str) -> None:
    values = frame[colour].to_numpy(float)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    for selected in (False, True):
        part = frame[frame["selected"] == selected]
        if not len(part):
            continue
        trace = _points(
            part,
            selected,
            color=part[colour],
            colorscale=POINTS,
            cmin=low,
            cmax=high,
            showscale=selected or not bool(frame["selected"].any()),
            colorbar={"title": {"text": title}, "thickness": 12},
        )
        trace.name = "in the batch" if selected else "candidate"
        out.add_trace(trace)


def _named(out: go.Figure, frame: pd.DataFrame, colour: str) -> None:
    names, kept = legend_names(frame[colour])
    palette = {name: CATEGORIES[n] if name != OTHER else UNIFORM for n, name in enumerate(names)}
    if set(names) <= {"in the batch", "candidate"}:
        palette = {"in the batch": DESIGN, "candidate": UNIFORM}
    for name in names:
        for selected in (False, True):
            part = frame[(kept == name) & (frame["selected"] == selected)]
            if not len(part):
                continue
            trace = _points(part, selected, color=palette[name])
            trace.name, trace.legendgroup = str(name)[:40], str(name)
            trace.showlegend = selected or not bool(((kept == name) & frame["selected"]).any())
            out.add_trace(trace)


def legend_names(values: pd.Series) -> tuple[list[str], pd.Series]:
    """The names a legend holds, the most frequent first and `other` last, and every value under its name there."""
    names = [str(name) for name in values.value_counts().index]
    kept = values.astype(str)
    if len(names) <= NAMED:
        return names, kept
    return [*names[:NAMED], OTHER], kept.where(kept.isin(names[:NAMED]), OTHER)
