"""What designs and simple rules are called on every chart, and their colours."""

from __future__ import annotations

from curation.charts.style import DESIGN, FAINT
from curation.design.rules.base import RULES

DESIGNS = {
    "design": ("the design", DESIGN),
    "trace": ("the design", DESIGN),  # its name in the policy experiments
    "paper": ("paper's variant (raw features, free)", "#B0552B"),
}


def short(name: str) -> str:
    """In a legend or a table; a name that no rule has stands as it is."""
    if name in DESIGNS:
        return DESIGNS[name][0]
    return RULES[name].short if name in RULES else name


def colour(name: str) -> str:
    """Of its line; faint where no rule has the name."""
    if name in DESIGNS:
        return DESIGNS[name][1]
    return RULES[name].colour if name in RULES else FAINT
