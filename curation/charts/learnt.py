"""What labels said: evidence for each prior, and where the fitted quality lies."""

from __future__ import annotations

import plotly.graph_objects as go

from curation.charts.style import DESIGN, UNIFORM, WARN, figure
from curation.insight.learning_result import Learnt

NAMES = {
    -1.0: "leading<br>directions",
    -0.5: "rather<br>leading",
    0.0: "as they<br>differ",
    0.5: "rather<br>small",
    1.0: "all<br>alike",
}


def evidence_by_power(learnt: Learnt) -> go.Figure:
    """Log evidence of each power of the prior over a = 0, with the level from which it is believed."""
    out = figure(x="Where the prior puts quality", y="Log evidence (nats)", height=300)
    lead = [float(value) for value in learnt.lead]
    out.add_bar(
        x=[NAMES.get(power, f"a = {power:g}") for power in learnt.powers],
        y=lead,
        marker_color=[DESIGN if value >= learnt.decisive_at else UNIFORM for value in lead],
        customdata=[f"a = {power:g}" for power in learnt.powers],
        hovertemplate="%{customdata}: %{y:.1f} nats<extra></extra>",
    )
    out.add_hline(
        y=learnt.decisive_at, line={"color": WARN, "dash": "dot"}, annotation_text="believed from here",
        annotation_position="top right",
    )  # fmt: skip
    low = max(min(lead), -4 * learnt.decisive_at)
    out.update_yaxes(range=[low * 1.1 - 0.5, max(max(lead), learnt.decisive_at) * 1.25])
    return out


def share_by_direction(learnt: Learnt) -> go.Figure:
    """Running share of the quality in the leading Fisher directions, as fitted and by chance."""
    out = figure(x="Fisher directions, the leading ones first", y="Share of the quality in them", height=300)
    count = list(range(1, len(learnt.by_direction) + 1))
    for name, shares, colour, dash in (
        ("by chance", learnt.chance_by_direction, UNIFORM, "dash"),
        ("as your labels have it", learnt.by_direction, DESIGN, "solid"),
    ):
        out.add_scatter(
            x=count, y=shares.cumsum(), name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2.5},
            hovertemplate="%{x} directions: %{y:.0%}<extra>" + name + "</extra>",
        )  # fmt: skip
    out.update_yaxes(tickformat=".0%", range=[0, 1.03])
    return out
