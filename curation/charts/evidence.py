"""Figures of the Evidence page."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from curation.charts.style import CEILING, DESIGN, UNIFORM, figure
from curation.insight.luck import Draws


def draw_luck(draws: Draws) -> go.Figure:
    """Realised criterion of repeated draws, design against uniform, with the lower bound."""
    out = figure(x="Realised criterion over the lower bound (smaller is better)", y="Draws", height=320)
    both = np.concatenate([draws.design, draws.uniform]) / draws.lower_bound
    width = max(float(both.max() - both.min()), 1e-6) / 60
    for name, values, colour in (("uniform", draws.uniform, UNIFORM), ("design", draws.design, DESIGN)):
        out.add_histogram(
            x=values / draws.lower_bound,
            name=name,
            marker_color=colour,
            opacity=0.85,
            xbins={"size": width, "start": float(both.min()), "end": float(both.max()) + width},
            hovertemplate="%{x}: %{y} draws<extra>" + name + "</extra>",
        )
    out.add_vline(x=1.0, line={"color": CEILING, "width": 2}, annotation_text="lower bound")
    out.update_layout(barmode="overlay")
    return out
