"""What DPO on bought answers shows: means with intervals over prompts and seeds, leads over uniform, the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.insight.clustered import Means, clustered_means

Array = NDArray[np.float64]
MEASURES = {
    "reward": "reward at equal KL, over the reference's",
    "accuracy": "accuracy of the implicit reward",
    "matched": "the same, answers of one length",
}
DECLARED = (
    "Declared before looking: reward at equal KL, mean over the budgets, two-sided 95 % interval clustered over "
    "prompts and seeds; a rule is ahead of uniform, or behind, where the interval leaves zero out."
)


def report(result: dict[str, Any]) -> dict[str, Any]:
    """Tables and sentences of a whole result: `table`, `leads`, `verdict`, `sentences`."""
    rules, budgets = list(result["settings"]["rules"]), list(result["settings"]["budgets"])
    means = {name: _means(result, name) for name in MEASURES}
    table = []
    for k, (rule, n) in enumerate((rule, n) for rule in rules for n in budgets):
        row: dict[str, Any] = {"rule": rule, "labels": n}
        for name in MEASURES:
            row[name] = _told(means[name], _unit(len(rules) * len(budgets), [k]))
        mine = [p for p in result["points"] if (p["rule"], p["budget"]) == (rule, n)]
        row["kl"] = float(np.mean([p["kl"] for p in mine]))
        row["loss"] = float(np.mean([np.mean(p["losses"][-5:]) for p in mine]))
        table.append(row)
    leads = []
    if "uniform" in rules:
        for rule in rules:
            if rule == "uniform":
                continue
            for at, some in [*((str(n), [n]) for n in budgets), ("all", budgets)]:
                direction = _direction(rules, budgets, rule, some)
                leads.append({
                    "rule": rule, "labels": at, **{name: _told(means[name], direction) for name in MEASURES},
                })  # fmt: skip
    return {"table": table, "leads": leads, "verdict": verdict(leads), "sentences": sentences(result, table, leads)}


def verdict(leads: list[dict[str, Any]]) -> str:
    """The declared test in a sentence."""
    if not leads:
        return "Uniform sampling was not among the rules, so nothing is compared."
    said = []
    for lead in leads:
        if lead["labels"] != "all":
            continue
        _, low, high = lead["reward"]
        where = "ahead of" if low > 0 else "behind" if high < 0 else "neither ahead of nor behind"
        said.append(f"{NAMES.get(lead['rule'], lead['rule'])} is {where} uniform ({spelt(lead['reward'])})")
    return "; ".join(said)[:1].upper() + "; ".join(said)[1:] + "."


NAMES = {"trace": "the design", "paper": "HGM's variant", "0.2.0": "the default of 0.2.0"}


def sentences(result: dict[str, Any], table: list[dict[str, Any]], leads: list[dict[str, Any]]) -> list[str]:
    """What was learnt at all, and by whom."""
    points = result["points"]
    best = max(table, key=lambda row: row["accuracy"][0])
    learnt = sum(row["accuracy"][1] > 0.5 for row in table)
    value, low, high = best["accuracy"]
    who = NAMES.get(best["rule"], best["rule"])
    out = [
        f"{learnt} of {len(table)} means of accuracy are surely above a coin's; the highest is {value:.1%} ({low:.1%} "
        f"to {high:.1%}), {who} with {best['labels']} labels.",
        DECLARED,
        verdict(leads),
    ]
    pairs = {p["seed"]: (p["pairs"], p["matched_pairs"]) for p in points}
    out.append(
        f"Judged on {sum(a for a, _ in pairs.values()):,} pairs of held-out prompts with a better answer, "
        f"{sum(b for _, b in pairs.values()):,} of them of about one length, over {len(pairs)} splits; reward in "
        f"{result['unit']}."
    )
    return out


def spelt(interval: list[float], digits: int = 3) -> str:
    """`+0.123, +0.040 to +0.206`."""
    value, low, high = interval
    return f"{value:+.{digits}f}, {low:+.{digits}f} to {high:+.{digits}f}"


def _means(result: dict[str, Any], name: str) -> Means:
    """Means of one measure, columns rule by rule and budget by budget."""
    settings = result["settings"]
    seeds = list(settings["seeds"])
    columns = [(rule, n) for rule in settings["rules"] for n in settings["budgets"]]
    values = np.full((len(seeds), len(columns), int(result["prompts"])), np.nan)
    for point in result["points"]:
        place = seeds.index(point["seed"]), columns.index((point["rule"], point["budget"]))
        values[(*place, np.array(point["prompts"]))] = np.array(
            [np.nan if v is None else v for v in point[name]], dtype=np.float64
        )
    if len(seeds) == 1:  # one split has no spread over splits: the prompts' alone is told
        values = np.concatenate([values, np.full_like(values, np.nan)])
    return clustered_means(values, np.asarray(result["weights"], dtype=np.float64))


def _unit(count: int, places: list[int]) -> Array:
    out = np.zeros(count)
    out[places] = 1 / len(places)
    return out


def _direction(rules: list[str], budgets: list[int], rule: str, some: list[int]) -> Array:
    """Rule minus uniform, mean over some budgets."""
    count = len(rules) * len(budgets)

    def places(name: str) -> list[int]:
        return [rules.index(name) * len(budgets) + budgets.index(n) for n in some]

    return _unit(count, places(rule)) - _unit(count, places("uniform"))


def _told(means: Means, direction: Array) -> list[float]:
    interval, _ = means.contrast(direction)
    return [interval.value, interval.low, interval.high]
