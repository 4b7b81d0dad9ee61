"""Figures of the Features page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from curation.charts.style import DESIGN, UNDER_TEXT, UNIFORM, WARN, figure


def explained(ratio: np.ndarray) -> go.Figure:
    """Share of the responses' variance of each component, and of all up to it. ratio: (k,)."""
    k = np.arange(1, len(ratio) + 1)
    out = figure(x="Component", y="Share of the variance of responses", height=320)
    out.add_bar(x=k, y=ratio, name="this component", marker_color=DESIGN, hovertemplate="%{x}: %{y:.2%}<extra></extra>")
    out.add_scatter(
        x=k,
        y=np.cumsum(ratio),
        name="up to it",
        mode="lines",
        line={"color": UNIFORM, "width": 2},
        hovertemplate="first %{x}: %{y:.1%}<extra></extra>",
    )
    out.update_yaxes(tickformat=".0%", range=[0, 1.02])
    return out


def norms(before: np.ndarray, after: np.ndarray) -> go.Figure:
    """Norms of the responses' vectors, over their median: hidden states as they are, and in the design's space."""
    out = figure(x="Norm over its median (no unit)", y="Responses", height=320)
    groups = []
    for name, values, colour in (("hidden states", before, UNIFORM), ("design's space", after, DESIGN)):
        middle = float(np.median(values))
        groups.append((name, values / middle if middle > 0 else values, colour))
    low = min(float(scaled.min()) for _, scaled, _ in groups)
    high = max(float(scaled.max()) for _, scaled, _ in groups)
    bins = {"start": low, "end": high * 1.001, "size": max(high - low, 1e-9) / 50}
    for name, scaled, colour in groups:
        out.add_histogram(x=scaled, name=name, marker_color=colour, opacity=0.75, xbins=bins)
    out.update_layout(barmode="overlay")
    return out


def gains(names: Sequence[str], gained: np.ndarray) -> go.Figure:
    """What every design (rows) gains over uniform labels under every choice's criterion (columns). gained: (V, V), 1 is
    the best possible, 0 uniform labels."""
    out = figure(x="Judged by the criterion of", y="Design made for", height=120 + 42 * len(names))
    out.add_heatmap(
        z=gained,
        x=list(names),
        y=list(names),
        zmin=0,
        zmax=1,
        colorscale=UNDER_TEXT,
        text=[[f"{value:.0%}" for value in row] for row in gained],
        texttemplate="%{text}",
        colorbar={"title": {"text": "gain over uniform"}, "tickformat": ".0%", "thickness": 14},
        hovertemplate="made for %{y}, judged by %{x}: %{text} of the best gain over uniform labels<extra></extra>",
    )
    out.update_yaxes(autorange="reversed")
    return out


def effective(groups: Mapping[str, np.ndarray], most: int) -> go.Figure:
    """Effective number of candidates per prompt under one or two policies. groups: name -> (P,). most: largest K."""
    out = figure(x="Effective candidates of a prompt (exp of the entropy)", y="Prompts", height=320)
    bins = {"start": 0.875, "end": most + 0.375, "size": 0.25 if most <= 24 else most / 60}
    for (name, values), colour in zip(groups.items(), (DESIGN, UNIFORM), strict=False):
        out.add_histogram(
            x=values,
            xbins=bins,
            name=name,
            marker_color=colour,
            hovertemplate="%{x}: %{y} prompts<extra>" + name + "</extra>",
        )
    out.add_vline(x=2, line={"color": WARN, "dash": "dot"})
    out.update_xaxes(range=[0.5, most + 0.75])
    out.update_layout(barmode="overlay", bargap=0.05, showlegend=True)
    return out
