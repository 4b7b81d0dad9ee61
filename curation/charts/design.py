"""Figures of the Design page."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from curation.charts.style import BATCH, CEILING, DESIGN, UNIFORM, WARN, figure, level_on_log, log_y
from curation.design.result import Step
from curation.design.rules.base import RULES
from curation.design.rules.compare import Baseline


def convergence(trace: Sequence[Step], tol: float) -> go.Figure:
    """Gap and open after each structured pass, with the tolerance they have to reach."""
    floor = tol * 1e-3
    out = figure(x="Structured passes over the pool", y="Share still open (log scale)", height=300)
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
    """Criterion of the drawn batch and of every simple rule, as multiples of the best attainable."""
    shown = [rule for rule in rules if rule.realised is not None]
    shown.sort(key=lambda rule: rule.realised or 0.0, reverse=True)
    names = [*(RULES[rule.name].title for rule in shown), "this design's batch"]
    values = [*((rule.realised or 0.0) / lower_bound for rule in shown), realised / lower_bound]
    colours = [UNIFORM] * len(shown) + [DESIGN]
    out = figure(x="Criterion / lower bound", y="", height=330)
    low, high = min(1.0, *values), max(1.0, *values)
    margin = max(high - low, 1e-3)
    for name, value, colour in zip(names, values, colours, strict=True):
        out.add_scatter(
            x=[1.0, value],
            y=[name, name],
            mode="lines+markers+text",
            line={"color": colour, "width": 2},
            marker={"size": [0, 12], "color": colour},
            text=["", f"{value:.3f}  " if value < 1 else f"  {value:.3f}"],
            textposition="middle left" if value < 1 else "middle right",
            cliponaxis=False,
            hovertemplate=f"{name}: {value:.5g} times the lower bound<extra></extra>",
        )
    out.add_vline(x=1.0, line={"color": CEILING, "width": 2})
    out.update_layout(showlegend=False, margin={"l": 8, "r": 16, "t": 16, "b": 52})
    out.update_xaxes(range=[low - 0.08 * margin, high + 0.35 * margin], nticks=5)
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
    out.add_vline(x=budget, line={"color": BATCH, "dash": "dot"}, annotation_text=f"{budget:g} {unit}")
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
