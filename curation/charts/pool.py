"""Figures of the Pool page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from curation.charts.style import DESIGN, UNIFORM, figure, log_x

MOST = 20


def counts(values: Mapping[str, int], *, x: str) -> go.Figure:
    """Horizontal bars, the largest first; beyond 20 the axis says how many are not drawn, and what they hold."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    shown, rest = ordered[:MOST], ordered[MOST:]
    if rest:
        held = sum(value for _, value in rest)
        x = f"{x}: the {MOST} largest of {len(ordered):,}; the other {len(rest):,} hold {held:,}"
    out = figure(x=x, y="", height=max(220, 80 + 24 * len(shown)))
    out.add_bar(
        x=[value for _, value in shown][::-1],
        y=[str(name)[:40] for name, _ in shown][::-1],
        orientation="h",
        marker_color=DESIGN,
        hovertemplate="%{y}: %{x:,}<extra></extra>",
    )
    out.update_layout(showlegend=False, margin={"l": 8, "r": 16, "t": 16, "b": 52})
    return out


def candidates(sizes: np.ndarray) -> go.Figure:
    """How many prompts have how many candidates. sizes: (P,)."""
    values, prompts = np.unique(sizes, return_counts=True)
    out = figure(x="Candidates of a prompt (responses)", y="Prompts", height=300)
    out.add_bar(x=values, y=prompts, marker_color=DESIGN, hovertemplate="%{x} candidates: %{y} prompts<extra></extra>")
    span = int(values.max() - values.min())
    out.update_xaxes(dtick=max(1, span // 10), range=[values.min() - 1.5, values.max() + 1.5])
    out.update_layout(showlegend=False, bargap=0.3)
    return out


def lengths(characters: np.ndarray, generators: Sequence[str]) -> go.Figure:
    """Response length by generator as boxes (one box where generators are unknown). characters: (N,)."""
    names = np.asarray(generators, dtype=object)
    unique = sorted(set(generators), key=lambda name: float(np.median(characters[names == name])))
    shown = unique if len(unique) <= MOST else []
    out = figure(x="Response length (characters, log scale)", y="", height=max(240, 90 + 24 * max(len(shown), 1)))
    groups = [(name, characters[names == name]) for name in shown] or [("all responses", characters)]
    for name, values in groups:
        out.add_box(
            x=np.maximum(values, 1),
            name=str(name)[:40],
            marker={"color": DESIGN, "size": 3, "outliercolor": UNIFORM},
            line={"width": 1.5},
            boxpoints="outliers",
            orientation="h",
        )
    out.update_layout(showlegend=False, margin={"l": 8, "r": 16, "t": 16, "b": 52})
    return log_x(out)
