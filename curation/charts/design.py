"""Figures of the Design page."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from curation.charts.style import BATCH, CEILING, DESIGN, UNIFORM, WARN, figure, level_on_log, log_y
from curation.design.result import Step
from curation.design.rules.base import RULES
from curation.design.rules.compare import Baseline
from curation.run.headline import Stratum

MOST_STRATA = 16  # strata on a chart, the largest


def convergence(trace: Sequence[Step], tol: float) -> go.Figure:
    """Gap (how much better the best possible design can be) and open (the part of the improvement over uniform that
    is left) after each structured pass, with the tolerance they have to reach."""
    floor = 1e-16  # a logarithmic axis has no 0
    out = figure(x="Structured passes over the pool", y="Relative, log scale", height=300)
    passes = [step.passes for step in trace]
    for name, values, colour in (
        ("gap", [max(step.gap, floor) for step in trace], DESIGN),
        ("open", [max(step.open, floor) for step in trace], WARN),
    ):
        out.add_scatter(
            x=passes,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            hovertemplate="pass %{x}: " + name + " %{y:.2e}<extra></extra>",
        )
    level_on_log(out, tol, f"tolerance {tol:g}", UNIFORM)
    log_y(out)
    out.update_xaxes(dtick=max(1, len(passes) // 12))
    return out


def against_rules(realised: float, lower_bound: float, rules: Sequence[Baseline]) -> go.Figure:
    """Criterion of the drawn batch and of every simple rule, over the bound of the fractional design, the best on top.

    A batch of whole labels may lie a little left of that bound where the spread gives prompts fractions of a label.
    """
    rows = [(RULES[rule.name].title, rule.realised / lower_bound, UNIFORM) for rule in rules if rule.realised]
    rows.append(("this design's batch", realised / lower_bound, DESIGN))
    rows.sort(key=lambda row: -row[1])
    out = figure(x="Criterion / bound", y="", height=100 + 34 * len(rows))
    low, high = min(1.0, rows[-1][1]), max(1.0, rows[0][1])
    margin = max(high - low, 1e-3)
    for name, value, colour in rows:
        out.add_scatter(
            x=[1.0, value],
            y=[name, name],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": [0, 12], "color": colour},
            cliponaxis=False,
            hovertemplate=f"{name}: {value:.5g} times the bound of the fractional design<extra></extra>",
        )
        out.add_annotation(
            x=max(value, 1.0), y=name, text=f"{value:.3f}", xanchor="left", xshift=10, showarrow=False,
            font={"color": colour} if colour == DESIGN else {},
        )  # fmt: skip
    out.add_vline(x=1.0, line={"color": CEILING, "width": 2})
    out.add_annotation(
        x=1.0, y=1.0, yref="paper", yanchor="bottom", xanchor="left", text="bound of the fractional design",
        showarrow=False, font={"color": CEILING},
    )  # fmt: skip
    out.update_layout(showlegend=False, margin={"l": 8, "r": 16, "t": 32, "b": 52})
    out.update_xaxes(range=[low - 0.04 * margin, high + 0.22 * margin], nticks=5)
    return out


def allocation(strata: Sequence[Stratum]) -> go.Figure:
    """Labels of every stratum, the largest first, its share of the prompts as a mark on each bar."""
    shown, total = list(strata)[:MOST_STRATA][::-1], sum(row.labels for row in strata)
    names = [row.name[:36] for row in shown]
    out = figure(x="Labels", y="", height=90 + 34 * len(shown))
    out.add_bar(
        x=[row.labels for row in shown], y=names, orientation="h", name="this batch", marker_color=DESIGN,
        text=[f"{row.labels:,}" for row in shown], textposition="auto", cliponaxis=False,
        customdata=[row.name for row in shown],
        hovertext=[f"{row.share:.0%} of all, {row.of_prompts:.0%} of prompts" for row in shown],
        hovertemplate="%{y}: %{x} labels, %{hovertext}<extra></extra>",
    )  # fmt: skip
    out.add_scatter(
        x=[row.of_prompts * total for row in shown], y=names, mode="markers", name="by its share of the prompts",
        marker={"symbol": "line-ns-open", "size": 18, "color": UNIFORM, "line": {"width": 3, "color": UNIFORM}},
        hovertemplate="%{y}: %{x:.1f} labels by its share of the prompts<extra></extra>",
    )  # fmt: skip
    out.update_layout(margin={"l": 8, "r": 16, "t": 28, "b": 52}, bargap=0.3)
    return out


def frontier(rows: Sequence[tuple[float, float, float]], budget: float, *, unit: str = "labels") -> go.Figure:
    """What is left to learn at each budget, design against uniform, with the present budget marked.

    unit: what the budget is counted in: labels, or the name of the cost.
    """
    out = figure(x=f"Budget ({unit})", y="Criterion at a fixed prior", height=320)
    budgets = [row[0] for row in rows]
    for name, values, colour in (
        ("uniform", [row[2] for row in rows], UNIFORM),
        ("design", [row[1] for row in rows], DESIGN),
    ):
        out.add_scatter(
            x=budgets,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            hovertemplate="%{x} " + unit + ": %{y:.4g}<extra>" + name + "</extra>",
        )
    out.add_vline(x=budget, line={"color": BATCH, "dash": "dot"})
    present = [row for row in rows if row[0] == budget]
    if present:
        out.add_scatter(
            x=[budget],
            y=[present[0][1]],
            name=f"this design, {budget:,.6g} {unit}",
            mode="markers",
            marker={"size": 14, "symbol": "diamond", "color": BATCH},
            hovertemplate="this design: %{x} " + unit + ", %{y:.4g}<extra></extra>",
        )
    out.update_yaxes(rangemode="tozero")
    return out


def gap_over_time(traces: dict[str, list[tuple[float, float]]]) -> go.Figure:
    """Certified gap against seconds of each solver, both logarithmic. traces: solver -> (seconds, gap) points."""
    out = figure(x="seconds since the start", y="certified gap", height=380)
    for (name, points), colour in zip(traces.items(), (DESIGN, WARN, UNIFORM), strict=False):
        shown = [(seconds, gap) for seconds, gap in points if gap > 0]
        out.add_scatter(
            x=[seconds for seconds, _ in shown],
            y=[gap for _, gap in shown],
            mode="lines+markers",
            name=name,
            line={"color": colour},
            marker={"size": 5},
        )
    out.update_xaxes(type="log", dtick=1)
    return log_y(out)
