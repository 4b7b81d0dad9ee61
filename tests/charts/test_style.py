"""The palette: seen on both grounds, told apart by everybody, one colour for one thing."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from curation.charts import style
from curation.charts.rules import DESIGNS
from curation.design.rules.base import RULES

ROOT = Path(__file__).resolve().parents[2]
THEME = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
GROUNDS = {"light": style.LIGHT, "dark": style.DARK}
TOGETHER = {name: getattr(style, name) for name in ("DESIGN", "UNIFORM", "CEILING", "WARN", "REJECT")}
MARKS = {
    **TOGETHER, "BATCH": style.BATCH, "MATTERS": style.MATTERS, "FAINT": style.FAINT,
    **{f"category {n}": tone for n, tone in enumerate(style.CATEGORIES)},
    **{f"point {at:g}": tone for at, tone in style.POINTS},
    **{f"rule {name}": rule.colour for name, rule in ((rule.name, rule) for rule in RULES)},
    **{f"rule {name}": tone for name, (_, tone) in DESIGNS.items()},
}  # fmt: skip
# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as it is, and as the three dichromats see it.
SEEN = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    """Linear RGB (3,) of "#RRGGBB"."""
    value = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, 1 to 21."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, kind: str) -> np.ndarray:
    """CIE Lab (3,) of a colour as a kind of eye sees it."""
    rgb = np.clip(np.asarray(SEEN[kind]) @ linear(colour), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ rgb / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_mark_is_seen_on_both_grounds(ground: str) -> None:
    faint = {name: contrast(tone, GROUNDS[ground]) for name, tone in MARKS.items()}
    assert {name: value for name, value in faint.items() if value < 3} == {}


@pytest.mark.parametrize("ground", GROUNDS)
def test_texts_are_read_on_every_ground_of_a_theme(ground: str) -> None:
    theme = THEME[ground]
    assert theme["backgroundColor"] == GROUNDS[ground]
    for text, under in itertools.product(
        ("textColor", "grayTextColor", "linkColor", "codeTextColor"), ("backgroundColor", "secondaryBackgroundColor")
    ):
        assert contrast(theme[text], theme[under]) >= 4.5, (text, under)
    assert contrast(theme["primaryColor"], theme["backgroundColor"]) >= 4.5


@pytest.mark.parametrize("kind", ["all", "protan", "deutan"])
def test_colours_that_stand_together_differ_for_everybody(kind: str) -> None:
    apart = {
        (a, b): np.linalg.norm(lab(TOGETHER[a], kind) - lab(TOGETHER[b], kind))
        for a, b in itertools.combinations(TOGETHER, 2)
    }
    assert min(apart.values()) > 20, min(apart, key=lambda pair: apart[pair])


def test_green_and_red_mean_one_thing() -> None:
    others = [tone for name, tone in MARKS.items() if name.startswith("rule")]
    assert style.CEILING not in others
    assert style.REJECT not in others


def test_charts_take_their_colours_from_the_palette() -> None:
    for path in sorted((ROOT / "curation" / "charts").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name not in ("style.py", "rules.py"):
            assert set(re.findall(r"#[0-9A-Fa-f]{6}", text)) <= {"#111111"}, path.name  # an outline


@pytest.mark.parametrize(("low", "high"), [(40, 55), (3, 800), (1e-7, 2.0), (1.0, 1.0), (900_000, 4e7)])
def test_a_logarithmic_axis_has_labelled_ticks_where_the_data_are(low: float, high: float) -> None:
    out = go.Figure(go.Scatter(x=[low, high], y=[1, 2]))
    axis = style.log_x(out).layout.xaxis
    reach = 10 ** np.ceil(np.log10(high) + 0.01)
    inside = [t for t in axis.tickvals if 10 ** np.floor(np.log10(low)) <= t <= reach]
    assert len(inside) >= 2
    assert len(axis.tickvals) <= 40
    assert all(axis.ticktext)
    shown = [t for t in axis.tickvals if low / 1.3 <= t <= high * 1.3]
    assert shown, "no tick within what is drawn"
