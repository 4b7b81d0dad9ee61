"""One look for every figure: colours with a fixed meaning, quiet axes, room for titles.

Every mark's colour has at least 3:1 against the light ground and against the dark one, so a figure need not know which
it stands on; texts and grid take the theme's own colours where the page draws them. The colours that stand together
differ for every kind of colour blindness (tests/charts/test_style.py computes both).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

LIGHT, DARK = "#FFFFFF", "#12161C"  # the grounds of the two themes, as .streamlit/config.toml has them
DESIGN = "#3D71C1"  # the design and its batch
BATCH = "#A6468F"  # a line where you are: the direction in view, the present budget
UNIFORM = "#86939B"  # uniform sampling, the whole pool, and other yardsticks
CEILING = "#2A9763"  # the best any feasible design could do
WARN = "#D37E19"  # look here
REJECT = "#C4292F"  # rejected, lost
MATTERS = "#7A5FB8"  # what the reference policy asks for
FAINT = UNIFORM  # of no rule or group in particular
INK = "#1B2733"
WASH = "rgba(61, 113, 193, 0.14)"  # under a line of the design
# Fields grow out of the ground, whatever it is; points must be seen at both ends, so theirs goes by hue.
SEQUENTIAL = [[0.0, "rgba(61, 113, 193, 0.04)"], [1.0, "rgba(61, 113, 193, 1)"]]
UNDER_TEXT = [[0.0, "rgba(61, 113, 193, 0.04)"], [1.0, "rgba(61, 113, 193, 0.6)"]]  # where figures stand on the field
POINTS = [[0.0, "#3D71C1"], [0.5, "#9C6588"], [1.0, "#D37E19"]]
CATEGORIES = (
    "#3D71C1",
    "#D37E19",
    "#2A9763",
    "#7A5FB8",
    "#C4292F",
    "#2F8C9C",
    "#8F6F2E",
    "#6F7C8A",
    "#C05C92",
    "#7D8A1E",
)


GRID = "rgba(128, 138, 150, 0.22)"
# Under the axis: what stands at the top right is covered by the chart's own buttons.
LEGEND = {
    "orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0.0, "xanchor": "left", "x": 0.0,
    "title_text": "",
}  # fmt: skip


def figure(*, title: str = "", x: str, y: str, height: int = 340, **layout: Any) -> go.Figure:
    """An empty figure with titled axes. x, y: axis titles, with units."""
    out = go.Figure()
    return finish(out, title=title, x=x, y=y, height=height, **layout)


def log_y(out: go.Figure) -> go.Figure:
    """Logarithmic y axis whose ticks are labelled, however short it is. Returns the same figure."""
    out.update_yaxes(**_log_axis(out, "y"))
    return out


def log_x(out: go.Figure) -> go.Figure:
    """Logarithmic x axis whose ticks are labelled, however short it is. Returns the same figure."""
    out.update_xaxes(**_log_axis(out, "x"))
    return out


def _log_axis(out: go.Figure, axis: str) -> dict[str, Any]:
    """A tick a decade; of one to three decades 1, 2 and 5 of each; of less, every step of the first digit."""
    values = [np.asarray(trace[axis], dtype=float) for trace in out.data if trace[axis] is not None]
    every = np.concatenate(values) if values else np.zeros(0)
    every = every[np.isfinite(every) & (every > 0)]
    if not len(every):
        return {"type": "log", "exponentformat": "power", "dtick": 1}
    low, high = math.floor(math.log10(every.min())), math.ceil(math.log10(every.max()))
    span = math.log10(every.max() / every.min())
    steps = (1,) if span > 3 else (1, 2, 5) if span > 0.7 else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    every_nth = max(1, (high - low) // 8)
    ticks = [step * 10.0**power for power in range(low, high + 1, every_nth) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [_tick(value) for value in ticks]}


def _tick(value: float) -> str:
    if 1e-3 <= value < 1e6:
        return f"{value:,.6g}"
    power = math.floor(math.log10(value) + 1e-9)
    lead = value / 10.0**power
    return f"10<sup>{power}</sup>" if abs(lead - 1) < 1e-9 else f"{lead:.2g}·10<sup>{power}</sup>"


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
        legend=LEGEND,
        hoverlabel={"align": "left"},
        **({"title": {"text": title, "x": 0.0, "xanchor": "left", "font": {"size": 15}}} if title else {}),
    )
    out.update_xaxes(title_text=x, gridcolor=GRID, zeroline=False, automargin=True)
    out.update_yaxes(title_text=y, gridcolor=GRID, zeroline=False, automargin=True)
    if layout:
        out.update_layout(**layout)
    return out
