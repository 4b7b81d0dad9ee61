"""Figures of the Weights page: is the design sane?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from curation.charts.style import DESIGN, FAINT, SEQUENTIAL, UNIFORM, WASH, figure, finish
from curation.insight.concentration import Concentration

MOST_KEYS = 16
BINS = 40


def inclusion_histogram(inclusion: np.ndarray) -> go.Figure:
    """Expected labels of the pairs with positive weight."""
    out = figure(x="Inclusion (expected labels of a pair)", y="Pairs", height=320)
    edges = np.linspace(0.0, max(float(inclusion.max()), 1e-9), BINS + 1)
    counts, _ = np.histogram(inclusion, edges)
    out.add_bar(
        **_bins(edges),
        y=counts,
        marker_color=DESIGN,
        hovertemplate="inclusion %{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y} pairs<extra></extra>",
    )
    out.update_layout(bargap=0.05, showlegend=False)
    return out


def _bins(edges: np.ndarray) -> dict[str, Any]:
    """Where the bars of a histogram stand: middles, widths, and as customdata what they hold."""
    return {
        "x": (edges[:-1] + edges[1:]) / 2,
        "width": np.diff(edges) * 0.95,
        "customdata": _ends(edges).tolist(),
    }  # lists: a click brings an array back as no list


def _ends(edges: np.ndarray) -> np.ndarray:
    """Both ends of every bar, and whether it is the last: (bars, 3)."""
    last = np.arange(len(edges) - 1) == len(edges) - 2
    return np.column_stack([edges[:-1], edges[1:], last])


def lorenz(curve: Concentration) -> go.Figure:
    """Share of the weight held by the lightest share of all pairs; the diagonal is a uniform design."""
    out = figure(x="Share of all pairs, lightest first", y="Share of the weight", height=320)
    out.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="uniform", line={"color": UNIFORM, "dash": "dot"})
    out.add_scatter(
        x=curve.share_of_pairs,
        y=curve.share_of_weight,
        mode="lines",
        name="design",
        line={"color": DESIGN, "width": 2},
        fill="tozeroy",
        fillcolor=WASH,
        hovertemplate="lightest %{x:.0%} of pairs: %{y:.1%} of the weight<extra></extra>",
    )
    out.update_xaxes(tickformat=".0%", range=[0, 1])
    out.update_yaxes(tickformat=".0%", range=[0, 1.01])
    return out


def shares(table: pd.DataFrame, what: str) -> go.Figure:
    """Weight share against pool share of every key, the heaviest first."""
    shown = table.head(MOST_KEYS).iloc[::-1]
    names = [str(key)[:36] for key in shown["key"]]
    out = figure(x="Share of the labels", y="", height=max(240, 60 + 26 * len(shown)))
    for name, column, colour in (("in the pool", "pool", UNIFORM), ("in the design", "weight", DESIGN)):
        out.add_bar(
            x=shown[column],
            y=names,
            orientation="h",
            name=name,
            marker_color=colour,
            customdata=shown["key"],
            hovertemplate="%{y}: %{x:.1%} " + name + "<extra>" + what + "</extra>",
        )
    out.update_xaxes(tickformat=".0%")
    out.update_layout(barmode="group", bargap=0.25, margin={"l": 8, "r": 16, "t": 30, "b": 52})
    return out


def prompt_labels(labels: np.ndarray) -> go.Figure:
    """Expected labels per prompt, sorted."""
    out = figure(x="Prompts, by expected labels", y="Expected labels of a prompt", height=320)
    values = np.sort(labels)[::-1]
    out.add_scatter(
        x=np.arange(1, len(values) + 1),
        y=values,
        mode="lines",
        line={"color": DESIGN, "width": 2, "shape": "hv"},
        fill="tozeroy",
        fillcolor=WASH,
        hovertemplate="prompt %{x}: %{y:.2f} labels<extra></extra>",
    )
    out.update_yaxes(rangemode="tozero")
    out.update_layout(showlegend=False)
    return out


def against(values: np.ndarray, inclusion: np.ndarray, background: np.ndarray, title: str) -> go.Figure:
    """Pairs with positive weight: inclusion against a property, over the distribution of that property in the pool."""
    out = figure(x=title, y="Share of all pairs", height=320)
    every = np.concatenate([background, values])
    edges = np.linspace(every.min(initial=0.0), max(every.max(initial=0.0), 1e-9), BINS + 1)
    counts, _ = np.histogram(background, edges)
    out.add_bar(
        **_bins(edges),
        y=counts / max(len(background), 1),
        marker_color=FAINT,
        name="all pairs",
        hovertemplate="%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y:.1%} of the pool's pairs<extra></extra>",
    )
    out.add_scattergl(
        x=values,
        y=inclusion,
        yaxis="y2",
        mode="markers",
        name="pairs with weight",
        marker={"color": DESIGN, "size": 5, "opacity": 0.6},
        customdata=_ends(edges)[np.clip(np.searchsorted(edges, values, "right") - 1, 0, BINS - 1)].tolist(),
        hovertemplate="%{x:.3g}: inclusion %{y:.2f}<extra></extra>",
    )
    out.update_yaxes(tickformat=".0%", rangemode="tozero")
    out.update_layout(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "tickmode": "auto",
            "nticks": 6,
            "title": {"text": "Inclusion (expected labels)"},
            "range": [0, max(float(inclusion.max()), 1e-9) * 1.05],
        },
        margin={"r": 64},
    )
    return out


def generator_pairs(matrix: pd.DataFrame) -> go.Figure:
    """Share of the weight on each pair of generators."""
    names = [str(name)[:24] for name in matrix.index]
    out = go.Figure(
        go.Heatmap(
            z=matrix.to_numpy(float),
            x=names,
            y=names,
            colorscale=SEQUENTIAL,
            zmin=0,
            hoverongaps=False,
            colorbar={"title": {"text": "share"}, "tickformat": ".1%", "thickness": 12},
            hovertemplate="%{y} against %{x}: %{z:.2%} of the labels<extra></extra>",
        )
    )
    finish(out, x="Generator", y="Generator", height=min(760, 200 + 22 * len(names)))
    out.update_yaxes(autorange="reversed")
    return out
