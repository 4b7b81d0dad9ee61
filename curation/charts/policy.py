"""Figures of the policy experiments: the reward-KL frontier and win rates, from the files they wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from curation.charts.rules import colour
from curation.charts.style import MATTERS, UNIFORM, figure
from curation.experiments.hh import pooled


def frontier(result: dict[str, Any], curation: str) -> go.Figure:
    """Reward against sequence-level KL, a line per rule through its betas, bars of one standard error."""
    out = figure(x="KL to the reference, whole response (nats)", y="Reward (logit of positive sentiment)", height=400)
    start = result["reference"]
    out.add_scatter(
        x=[0], y=[start["reward"]], mode="markers", name="reference (SFT)",
        marker={"symbol": "diamond", "size": 10, "color": MATTERS},
        error_y={"type": "data", "array": [start["reward_error"]]},
    )  # fmt: skip
    rules = list(dict.fromkeys(p["rule"] for p in result["points"] if p["curation"] == curation))
    for rule in rules:
        mine = [p for p in result["points"] if (p["curation"], p["rule"]) == (curation, rule)]
        betas = sorted({p["beta"] for p in mine})
        spots = []
        for beta in betas:
            group = [p for p in mine if p["beta"] == beta]
            spots.append(
                [np.mean([p["kl"] for p in group]), np.mean([p["reward"] for p in group]),
                 np.sqrt(np.mean([p["kl_error"] ** 2 for p in group]) / len(group)),
                 np.sqrt(np.mean([p["reward_error"] ** 2 for p in group]) / len(group)), beta]
            )  # fmt: skip
        x, y, ex, ey, at = np.array(sorted(spots)).T
        out.add_scatter(
            x=x, y=y, name=rule, mode="lines+markers", line={"color": colour(rule), "width": 2},
            error_x={"type": "data", "array": ex, "thickness": 1},
            error_y={"type": "data", "array": ey, "thickness": 1},
            customdata=at,
            hovertemplate="beta %{customdata:g}: %{y:.3f} at %{x:.2f} nats<extra>" + rule + "</extra>",
        )  # fmt: skip
    return out


def win_rates(result: dict[str, Any], against: str) -> go.Figure:
    """Win rate by temperature, ties a half, with bars of two standard errors; a line per rule and share of labels."""
    out = figure(x="Sampling temperature", y=f"Win rate against {against}", height=440)
    dashes = dict(zip(result["settings"]["shares"], ("solid", "dash", "dot"), strict=False))
    temperatures = result["settings"]["temperatures"]
    offset = 0
    for share in result["settings"]["shares"]:
        for rule in result["settings"]["rules"]:
            found = [pooled(result, share, rule, t, against) for t in temperatures]
            if any(item is None for item in found):
                continue
            rates = [item for item in found if item is not None]
            shift = 0.006 * offset
            offset += 1
            out.add_scatter(
                x=[t + shift for t in temperatures], y=[rate for rate, _ in rates],
                error_y={"type": "data", "array": [2 * error for _, error in rates], "thickness": 1},
                name=f"{rule}, {share:.0%} of labels", mode="lines+markers",
                line={"color": colour(rule), "dash": dashes.get(share, "solid")},
                hovertemplate="%{y:.1%}<extra>" + f"{rule}, {share:.0%}" + "</extra>",
            )  # fmt: skip
    out.add_hline(y=0.5, line={"color": UNIFORM, "dash": "dot"})
    out.update_yaxes(tickformat=".0%")
    out.update_xaxes(tickvals=temperatures)
    return out
