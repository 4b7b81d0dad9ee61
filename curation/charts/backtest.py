"""Figures of the backtest: what labels earn under each rule, and what each lead is worth."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from curation.backtest.misled import Misled
from curation.backtest.report import Report
from curation.charts.rules import colour, short
from curation.charts.style import DESIGN, MATTERS, UNIFORM, figure


def reward_curves(report: Report, shown: list[str]) -> go.Figure:
    """Reward of the rules shown against labels, with 95 % bands for the design and uniform."""
    out = figure(
        x="Labels bought (log scale)",
        y="Reward over the reference's",
        height=420,
    )
    steps = list(report.budgets)
    for name in shown:
        curve = report.curve(name)
        tint = colour(name)
        if name in ("design", "uniform"):
            high, low = [i.high for i in curve.reward], [i.low for i in curve.reward]
            out.add_scatter(
                x=[*steps, *steps[::-1]], y=[*high, *low[::-1]], fill="toself", mode="none", fillcolor=tint,
                opacity=0.12, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
        out.add_scatter(
            x=steps, y=[i.value for i in curve.reward], name=short(name), mode="lines+markers",
            line={"color": tint, "width": 3 if name == "design" else 1.8},
            customdata=[[i.low, i.high] for i in curve.reward],
            hovertemplate="%{x:,} labels: %{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra>"
            + short(name) + "</extra>",
        )  # fmt: skip
    out.update_xaxes(type="log", tickvals=steps, ticktext=[f"{n:,}" for n in steps])
    return out


def paired_differences(report: Report, reference: str) -> go.Figure:
    """Every rule's lead over a reference rule, averaged over budgets, with its 95 % interval."""
    found = [d for d in report.differences if d.reference == reference and d.budget is None]
    found.sort(key=lambda d: d.interval.value)
    out = figure(x=f"Reward minus that of {short(reference)}, mean over budgets", y="", height=360)
    out.add_scatter(
        x=[d.interval.value for d in found],
        y=[short(d.rule) for d in found],
        mode="markers",
        marker={"size": 10, "color": [DESIGN if d.rule == "design" else UNIFORM for d in found]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [d.interval.high - d.interval.value for d in found],
            "arrayminus": [d.interval.value - d.interval.low for d in found],
            "color": UNIFORM,
        },
        customdata=[[d.interval.low, d.interval.high, d.p] for d in found],
        hovertemplate="%{y}: %{x:+.3f} (%{customdata[0]:+.3f} to %{customdata[1]:+.3f}), one-sided p "
        "%{customdata[2]:.2g}<extra></extra>",
        showlegend=False,
    )
    out.add_vline(x=0, line={"color": UNIFORM, "dash": "dot"})
    return out


def misled_directions(misled: Misled) -> go.Figure:
    """What matters per Fisher direction, at the reference and at the policy fitted on known outcomes."""
    k = np.arange(1, len(misled.reference) + 1)
    out = figure(x="Fisher direction k (1 = matters most at the reference)", y="Share of what matters", height=320)
    out.add_bar(x=k, y=misled.reference, name="at the reference", marker_color=MATTERS)
    out.add_bar(x=k, y=misled.fitted, name="at the fitted policy", marker_color=DESIGN)
    out.update_yaxes(tickformat=".1%")
    out.update_layout(barmode="group", bargap=0.15)
    return out
