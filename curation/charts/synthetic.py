"""Figures of the synthetic experiments."""

from __future__ import annotations

import plotly.graph_objects as go

from curation.charts.rules import colour, short
from curation.charts.style import CEILING, DESIGN, figure, log_y
from curation.experiments.synthetic import DESIGNS, Curves

OWN = {"oracle": ("oracle (knows the truth)", CEILING), "plug_in": ("plug-in (this program's)", DESIGN)}
NAMES = {name: OWN[name][0] if name in OWN else short(name) for name in DESIGNS}
COLOURS = {name: OWN[name][1] if name in OWN else colour(name) for name in DESIGNS}


def gap_curves(curves: Curves) -> go.Figure:
    """Gap to the optimum against labels, both on log axes, with bands of two standard errors."""
    out = figure(x="Labels (log scale)", y="J(p*) - J(p_hat), log scale", height=380)
    n = list(curves.settings.labels)
    for name in DESIGNS:
        mean, error = curves.mean(name), curves.error(name)
        low, high = (mean - 2 * error).clip(min=mean * 0.05), mean + 2 * error
        tint = COLOURS[name]
        out.add_scatter(
            x=[*n, *n[::-1]], y=[*high, *low[::-1]], fill="toself", mode="none", fillcolor=tint, opacity=0.15,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        out.add_scatter(
            x=n, y=mean, name=NAMES[name], mode="lines+markers", line={"color": tint, "width": 2},
            hovertemplate="%{x:,} labels: %{y:.3g}<extra>" + NAMES[name] + "</extra>",
        )  # fmt: skip
    out.update_xaxes(type="log", tickvals=n, ticktext=[f"{value:,}" for value in n])
    return log_y(out)
