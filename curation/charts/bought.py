"""Figures of DPO on bought answers: leads over uniform and what the implicit reward gets right, with intervals."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from curation.charts.rules import colour, short
from curation.charts.style import REJECT, figure


def leads(result: dict[str, Any]) -> go.Figure:
    """Reward at equal KL of every rule minus uniform's, by labels and over all of them, 95 % intervals."""
    rows = result["leads"]
    out = figure(x=f"Reward at equal KL minus uniform's ({result['unit']})", y="", height=110 + 34 * len(rows))
    for lead in reversed(rows):
        many = "all budgets" if lead["labels"] == "all" else f"{int(lead['labels']):,} labels"
        _interval(out, lead["reward"], f"{short(lead['rule'])}, {many}", lead["rule"], lead["labels"] == "all", "+.3f")
    out.add_vline(x=0, line={"color": REJECT, "dash": "dot"})
    return out


def accuracies(result: dict[str, Any], measure: str) -> go.Figure:
    """Share of held-out pairs that each policy's implicit reward orders rightly, 95 % intervals; a coin gets half."""
    rows = result["table"]
    out = figure(x="Held-out pairs ordered rightly (share)", y="", height=110 + 34 * len(rows))
    for row in reversed(rows):
        _interval(out, row[measure], f"{short(row['rule'])}, {row['labels']:,} labels", row["rule"], False, ".1%")
    out.add_vline(x=0.5, line={"color": REJECT, "dash": "dot"})
    out.update_xaxes(tickformat=".0%")
    return out


def _interval(out: go.Figure, values: list[float], name: str, rule: str, strong: bool, form: str) -> None:
    value, low, high = values
    out.add_scatter(
        x=[value], y=[name], mode="markers", showlegend=False,
        marker={"size": 13 if strong else 9, "color": colour(rule), "symbol": "diamond" if strong else "circle"},
        error_x={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                 "color": colour(rule)},
        customdata=[[low, high]],
        hovertemplate=f"{name}: %{{x:{form}}} (%{{customdata[0]:{form}}} to %{{customdata[1]:{form}}})<extra></extra>",
    )  # fmt: skip
