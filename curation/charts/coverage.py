"""Figures of the Coverage page: Sigma_D's eigen-coverage against Fisher directions."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from curation.charts.style import (
    BATCH,
    CEILING,
    DESIGN,
    MATTERS,
    SEQUENTIAL,
    UNIFORM,
    WARN,
    figure,
    finish,
    level_on_log,
    log_y,
)
from curation.insight.coverage import Coverage

FLOOR = 1e-6  # smallest value drawn on a log axis, as a share of the largest


def _positive(values: np.ndarray, top: float) -> np.ndarray:
    return np.asarray(np.maximum(values, top * FLOOR))


def direction_coverage(coverage: Coverage, *, chosen: int | None = None) -> go.Figure:
    """u_k' Sigma u_k of batch, uniform and ceiling per Fisher direction, with the prior's line. Clickable."""
    k = np.arange(1, len(coverage.mu) + 1)
    top = float(np.nanmax([coverage.ceiling.max(), coverage.batch.max(), coverage.uniform.max()]))
    out = figure(
        x="Fisher direction k (1 = matters most)", y="Information per label, u' Sigma u (log scale)", height=400
    )
    for name, values, colour, mode in (
        ("ceiling: best any feasible design could do", coverage.ceiling, CEILING, "lines"),
        ("uniform", coverage.uniform, UNIFORM, "lines"),
        ("this batch", coverage.batch, DESIGN, "lines+markers"),
    ):
        out.add_scatter(
            x=k,
            y=_positive(values, top),
            name=name,
            mode=mode,
            line={"color": colour, "width": 2},
            marker={"size": 7},
            customdata=k - 1,
            hovertemplate="direction %{x}: %{y:.3g}<extra>" + name + "</extra>",
        )
    level_on_log(out, coverage.prior, "prior (ridge)", UNIFORM)
    if len(coverage.less):
        out.add_scatter(
            x=coverage.less + 1,
            y=_positive(coverage.batch[coverage.less], top),
            name="less than uniform",
            mode="markers",
            marker={"symbol": "triangle-down", "size": 11, "color": WARN},
            hovertemplate="direction %{x}: %{y:.3g}, less than uniform labels say<extra></extra>",
        )
    if len(coverage.unteachable):
        out.add_scatter(
            x=coverage.unteachable + 1,
            y=_positive(coverage.batch[coverage.unteachable], top),
            name="beyond any feasible design",
            mode="markers",
            marker={"symbol": "circle-open", "size": 12, "color": UNIFORM},
            hovertemplate="direction %{x}: ceiling below the prior<extra></extra>",
        )
    if chosen is not None:
        out.add_vline(x=chosen + 1, line={"color": BATCH, "width": 1})
    return log_y(out)


def criterion_share(coverage: Coverage) -> go.Figure:
    """mu_k u_k' S^-1 u_k: what each direction still contributes to f, batch against uniform. Not to be drawn of a
    criterion that does not divide so."""
    k = np.arange(1, len(coverage.mu) + 1)
    out = figure(x="Fisher direction k", y="Part of the criterion f", height=320)
    out.add_bar(x=k, y=coverage.uniform_share, name="uniform", marker_color=UNIFORM)
    out.add_bar(x=k, y=coverage.batch_share, name="this batch", marker_color=DESIGN)
    out.update_layout(barmode="overlay", bargap=0.15)
    out.update_traces(hovertemplate="direction %{x}: %{y:.3g}<extra>%{fullData.name}</extra>")
    return out


def spectrum(coverage: Coverage) -> go.Figure:
    """Eigenvalues of Sigma: batch, uniform; and of the Fisher matrix, each over its own largest."""
    out = figure(x="Rank of the eigenvalue", y="Eigenvalue over the largest (log scale)", height=320)
    for name, values, colour in (
        ("Fisher matrix", coverage.mu, MATTERS),
        ("Sigma, uniform", coverage.spectrum_uniform, UNIFORM),
        ("Sigma, this batch", coverage.spectrum_batch, DESIGN),
    ):
        top = float(values.max())
        if top <= 0:
            continue
        out.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=_positive(values, top) / top,
            name=name,
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate="rank %{x}: %{y:.3g}<extra>" + name + "</extra>",
        )
    return log_y(out)


def overlap(coverage: Coverage) -> go.Figure:
    """|v_j' u_k|^2: how far the batch's own directions are the Fisher's. The diagonal is agreement in order."""
    d = len(coverage.mu)
    out = go.Figure(
        go.Heatmap(
            z=np.sqrt(coverage.overlap),
            x=np.arange(1, d + 1),
            y=np.arange(1, d + 1),
            colorscale=SEQUENTIAL,
            zmin=0,
            zmax=1,
            colorbar={"title": {"text": "|v' u|"}, "thickness": 12},
            hovertemplate="batch %{y}, Fisher %{x}: |v' u| = %{z:.2f}<extra></extra>",
        )
    )
    finish(out, x="Fisher direction k", y="Eigenvector of Sigma (1 = best taught)", height=400)
    out.update_yaxes(autorange="reversed")
    return out
