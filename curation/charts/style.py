"""One look for every figure: colours with a fixed meaning, quiet axes, room for titles."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

DESIGN = "#1F5FA8"  # the design and its batch
BATCH = "#0B3D75"  # the drawn batch where it stands beside its design
UNIFORM = "#8A94A0"  # uniform sampling and other yardsticks
CEILING = "#2E8B57"  # the best any feasible design could do
WARN = "#C77700"  # look here
REJECT = "#B3372F"
FAINT = "#D5DBE2"
INK = "#1B2733"
SEQUENTIAL = [[0.0, "#EAF1F9"], [0.5, "#6FA0D6"], [1.0, "#0B3D75"]]
CATEGORIES = (
    "#1F5FA8",
    "#C77700",
    "#2E8B57",
    "#7A4FA3",
    "#B3372F",
    "#3A8F9E",
    "#8C6D31",
    "#5B6570",
    "#D06A9C",
    "#9AA52B",
)


def figure(*, title: str = "", x: str, y: str, height: int = 340, **layout: Any) -> go.Figure:
    """An empty figure with titled axes. x, y: axis titles, with units."""
    out = go.Figure()
    return finish(out, title=title, x=x, y=y, height=height, **layout)


def log_y(out: go.Figure) -> go.Figure:
    """Logarithmic y axis with a tick per decade. Returns the same figure."""
    out.update_yaxes(type="log", exponentformat="power", dtick=1)
    return out


def level_on_log(out: go.Figure, value: float, text: str, colour: str) -> None:
    """A labelled horizontal line on a logarithmic y axis; the label stands over the line, at the right."""
    out.add_hline(y=value, line={"color": colour, "dash": "dot"})
    out.add_annotation(
        x=1, xref="paper", xanchor="right", y=math.log10(value), yref="y", yanchor="bottom", text=text, showarrow=False
    )


def finish(out: go.Figure, *, title: str = "", x: str, y: str, height: int = 340, **layout: Any) -> go.Figure:
    """Give a figure the common look. Returns the same figure."""
    out.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 64, "r": 16, "t": 44 if title else 16, "b": 52},
        font={"family": "Source Sans Pro, Segoe UI, Helvetica, Arial, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0, "title_text": ""},
        hoverlabel={"align": "left"},
        **({"title": {"text": title, "x": 0.0, "xanchor": "left", "font": {"size": 15}}} if title else {}),
    )
    out.update_xaxes(title_text=x, gridcolor="#EEF1F4", zeroline=False, automargin=True)
    out.update_yaxes(title_text=y, gridcolor="#EEF1F4", zeroline=False, automargin=True)
    if layout:
        out.update_layout(**layout)
    return out
