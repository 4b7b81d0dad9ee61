"""What the frontier of reward against KL says: the design beside uniform, and how many uniform labels it is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.insight.clustered import clustered_means

Array = NDArray[np.float64]


def sentences(result: dict[str, Any]) -> list[str]:
    """What the frontier says: at each beta the design's reward and KL beside uniform's, over seeds."""
    out = []
    points = [p for p in result["points"] if p.get("share", 1.0) == 1.0]
    for kind in ("prompt", "response"):
        for beta in result["settings"]["betas"]:
            both = {
                rule: [p for p in points if (p["curation"], p["rule"], p["beta"]) == (kind, rule, beta)]
                for rule in ("trace", "uniform")
            }
            if not all(both.values()):
                continue
            gap = np.array([a["by_prompt"] for a in both["trace"]]) - [b["by_prompt"] for b in both["uniform"]]
            lead, error = _lead(gap)
            kl = {rule: np.mean([p["kl"] for p in mine]) for rule, mine in both.items()}
            sure = "within" if abs(lead) < 2 * error else "outside"
            free = ""
            if all("length_free_by_prompt" in p for mine in both.values() for p in mine):
                fair = np.array([a["length_free_by_prompt"] for a in both["trace"]])
                value, away = _lead(fair - [b["length_free_by_prompt"] for b in both["uniform"]])
                long = {rule: np.mean([p["tokens"] for p in mine]) for rule, mine in both.items()}
                free = (
                    f" Length out: {value:+.3f} ± {away:.3f}; they write {long['trace']:.1f} and {long['uniform']:.1f} "
                    "tokens."
                )
            out.append(
                f"{kind.capitalize()} selection, beta {beta:g}: trace minus uniform {lead:+.3f} in reward (logits), "
                f"{sure} two standard errors ({error:.3f}, {len(gap)} seed(s)), at {kl['trace']:.2f} and "
                f"{kl['uniform']:.2f} nats.{free}"
            )
    return out


def multiples(result: dict[str, Any]) -> dict[str, Any]:
    """Uniform labels that earn at equal KL what a label of each rule earns, from uniform's own curve of budgets.

    kl: nats at which all are compared, half of the least that any frontier reaches. reward: of each rule, and of
    uniform by its share of the labels, over the reference's. labels: the multiple; None where the curve of budgets
    does not reach a rule's reward, or begins above it. Empty without further uniform budgets.
    """
    points = [p for p in result["points"] if p["curation"] == "response"]
    shares = sorted({p.get("share", 1.0) for p in points if p["rule"] == "uniform"})
    if len(shares) < 2:
        return {}
    start = float(result["reference"]["reward"])
    groups = {(p["rule"], p.get("share", 1.0)): [] for p in points}  # type: dict[tuple[str, float], list[Any]]
    for p in points:
        groups[p["rule"], p.get("share", 1.0)].append(p)
    frontiers = {key: _frontier(mine, start) for key, mine in groups.items()}
    kl = 0.5 * min(float(nats.max()) for nats, _ in frontiers.values())
    at = {key: float(np.interp(kl, nats, reward)) - start for key, (nats, reward) in frontiers.items()}
    curve = np.maximum.accumulate([at["uniform", share] for share in shares])
    labels = {}
    for (rule, share), earned in at.items():
        inside = share == 1.0 and curve[0] <= earned <= curve[-1]
        if share == 1.0:
            labels[rule] = float(np.exp(np.interp(earned, curve, np.log(shares)))) if inside else None
    return {
        "kl": kl, "reward": {rule: value for (rule, share), value in at.items() if share == 1.0},
        "uniform": {f"{share:g}": at["uniform", share] for share in shares}, "labels": labels,
    }  # fmt: skip


def _frontier(points: list[dict[str, Any]], start: float) -> tuple[Array, Array]:
    """Mean KL, rising, and mean reward of each beta, from the reference on."""
    betas = sorted({p["beta"] for p in points})
    means = [
        (np.mean([p["kl"] for p in points if p["beta"] == b]), np.mean([p["reward"] for p in points if p["beta"] == b]))
        for b in betas
    ]
    nats, reward = np.array([(0.0, start), *sorted(means)]).T
    return nats, reward


def _lead(gap: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (seeds, prompts) and its standard error, clustered both ways where seeds allow."""
    if len(gap) < 2:
        return float(gap.mean()), float(gap[0].std(ddof=1) / np.sqrt(gap.shape[1]))
    means = clustered_means(gap[:, None, :], np.full(gap.shape[1], 1 / gap.shape[1]))
    two_way = float(means.by_seed[0, 0] + means.by_prompt[0, 0] - means.by_cell[0, 0])
    return float(gap.mean()), float(np.sqrt(max(two_way, float(means.by_seed[0, 0]), float(means.by_prompt[0, 0]))))
