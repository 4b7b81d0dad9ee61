"""Figures of the Features page."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from curation.charts.style import CEILING, DESIGN, UNIFORM, WARN, figure


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
        line={"color": CEILING, "width": 2},
        hovertemplate="first %{x}: %{y:.1%}<extra></extra>",
    )
    out.update_yaxes(tickformat=".0%", range=[0, 1.02])
    return out


def norms(before: np.ndarray, after: np.ndarray) -> go.Figure:
    """Norms of the responses' vectors, over their median: hidden states as they are, and in the design's space."""
    out = figure(x="Norm over its median (no unit)", y="Responses", height=320)
    for name, values, colour in (("hidden states", before, UNIFORM), ("design's space", after, DESIGN)):
        middle = float(np.median(values))
        scaled = values / middle if middle > 0 else values
        out.add_histogram(x=scaled, name=name, marker_color=colour, opacity=0.75, nbinsx=60)
    out.update_layout(barmode="overlay")
    return out


def effective(values: np.ndarray, sizes: np.ndarray) -> go.Figure:
    """Effective number of candidates per prompt under p. values, sizes: (P,)."""
    out = figure(x="Effective candidates of a prompt (exp of the entropy of p)", y="Prompts", height=320)
    top = float(max(sizes.max(), values.max()))
    out.add_histogram(
        x=values,
        xbins={"start": 0.5, "end": top + 0.75, "size": max(0.25, top / 40)},
        marker_color=DESIGN,
        hovertemplate="%{x}: %{y} prompts<extra></extra>",
    )
    out.add_vline(x=2, line={"color": WARN, "dash": "dot"}, annotation_text="2")
    out.update_xaxes(range=[0.5, top + 0.75])
    out.update_layout(showlegend=False, bargap=0.05)
    return out
