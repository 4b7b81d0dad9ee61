"""Scenarios side by side: what is kept of each, and a table in which only what compares is compared.

The criterion itself stands in no such table: under another ridge it is another unit (docs/method.md section 8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from curation.batch.records import pair_labels
from curation.dashboard.view import View, scenario_settings, view_from_query
from curation.review.store.records import Scenario
from curation.run.headline import Headline
from curation.run.results import Solved

PAIRS_KEPT = 20_000  # pair ids that a scenario keeps, so that overlaps can be told
NOTHING = "not kept"  # of a scenario that was saved before this was
SHORT = {"pool": "", "features": ""}  # settings that every scenario of a pool shares or that say nothing here


def scenario_figures(solved: Solved, found: Headline) -> dict[str, Any]:
    """What a scenario keeps of a design, in plain values for JSON."""
    certificate = solved.design.certificate
    pairs = [row[3] for row in pair_labels(solved.prepared.pool, solved, solved.batch.pairs)]
    worth = found.equivalent.labels
    return {
        "budget": solved.settings.budget,
        "spread": solved.settings.spread,
        "objective": certificate.objective,
        "realised": solved.realised,
        "efficiency": solved.efficiency,
        "support": solved.design.support,
        "gap": certificate.gap,
        "certified": found.certified,
        "labels": found.labels,
        "equivalent": worth if math.isfinite(worth) else None,
        "attained": found.attained,
        "weakest": found.weakest + 1,
        "said": found.said,
        "length": solved.length.share,
        "cost": found.cost,
        "unit": found.unit,
        "pairs": pairs if len(pairs) <= PAIRS_KEPT else None,
    }


def compared(scenarios: Sequence[Scenario], present: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row for every scenario, in words. present: figures of the design on screen, which overlaps are of."""
    now = set(present.get("pairs") or ())
    return [_row(scenario, now) for scenario in scenarios]


def differences(scenarios: Sequence[Scenario]) -> list[dict[str, str]]:
    """Settings in which scenarios differ: a row for every setting, a column for every scenario."""
    settings = {s.name: scenario_settings(s.settings) for s in scenarios}
    plain = View().to_query()
    names = sorted({key for each in settings.values() for key in each} - set(SHORT))
    rows = []
    for key in names:
        values = {name: each.get(key, plain.get(key, "default")) for name, each in settings.items()}
        if len(set(values.values())) > 1:
            rows.append({"setting": key, **values})
    return rows


def _row(scenario: Scenario, now: set[str]) -> dict[str, str]:
    kept, settings = scenario.figures, scenario_settings(scenario.settings)
    pairs = kept.get("pairs")
    worth = _told(kept, "equivalent", "{:,.0f}")
    if "equivalent" in kept and kept["equivalent"] is None:
        worth = "no number reaches it"
    cost = f"{kept['cost']:,.4g} {kept.get('unit') or ''}".strip() if kept.get("cost") is not None else ""
    return {
        "scenario": scenario.name,
        "budget": f"{kept.get('budget', 0):g}",
        "ridge": f"{settings.get('ridge', '')}{' absolute' if settings.get('ridge_kind') == 'absolute' else ''}",
        "spread": str(kept.get("spread", settings.get("spread", ""))),
        "uniform labels it is worth": worth,
        "of the attainable": _told(kept, "attained", "{:.1%}"),
        "certified within": _told(kept, "certified", "{:.1g}"),
        "weakest direction": f"{kept['weakest']} ({kept['said']:.2g}x)" if kept.get("weakest") else NOTHING,
        "along length": _told(kept, "length", "{:.0%}"),
        "same pairs as now": f"{len(now & set(pairs))} of {len(pairs)}" if pairs else NOTHING,
        "cost": cost or f"{kept.get('labels', kept.get('budget', 0)):g} labels",
    }


def _told(kept: Mapping[str, Any], name: str, form: str) -> str:
    value = kept.get(name)
    return NOTHING if value is None else form.format(value)


def scenario_view(scenario: Scenario) -> View:
    """The view that a scenario keeps."""
    return view_from_query(scenario_settings(scenario.settings))


def scenario_link(scenario: Scenario, address: str) -> str:
    """The address of the Design page with a scenario's settings and its name. address: of the page at present."""
    query = {**scenario_view(scenario).to_query(), "scenario": scenario.name}
    return f"{address.split('?')[0].split('#')[0]}?{urlencode(query)}"


def overlaps(scenarios: Sequence[Scenario]) -> list[dict[str, str]]:
    """Pairs that every two scenarios share, as a square table; nothing where one of them kept none."""
    if not all(s.figures.get("pairs") for s in scenarios):
        return []
    sets = {s.name: set(s.figures["pairs"]) for s in scenarios}
    return [
        {"pairs shared": name, **{other: f"{len(pairs & sets[other])}" for other in sets}}
        for name, pairs in sets.items()
    ]
