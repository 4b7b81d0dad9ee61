"""Random combinations of constraints, and what they mean, written a second time from the definitions alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import Bounds as Box
from scipy.optimize import LinearConstraint, linprog, milp

from curation.design.criteria.base import Criterion
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.feasible import Feasible
from curation.design.sets.limits import Limits, MeanLimit
from curation.design.sets.make import make_feasible
from tests.desk.builders import explicit_vectors, membership, random_fisher, random_geometry


@dataclass(frozen=True)
class ConstrainedCase:
    """A design problem with any of the constraints. settings: keywords of make_feasible, limits apart.

    previous: (d, d) information of the labels bought before, in labels, or None. Their pairs are excluded.
    """

    geometry: Geometry
    criterion: Criterion
    settings: dict[str, Any]
    limits: Limits | None
    previous: np.ndarray | None = None
    ridge: float = 0.1

    def feasible(self) -> Feasible:
        """The feasible set under test."""
        return make_feasible(self.geometry, **self.settings, limits=self.limits)

    @property
    def asked(self) -> Limits:
        """The limits, none where there are none."""
        return self.limits or Limits()

    @property
    def r(self) -> float:
        """Labels of one pair at most."""
        return float(self.settings["max_labels_per_pair"])

    @property
    def costs(self) -> np.ndarray:
        """(pairs,) the units of the budget: costs, or one each."""
        return np.ones(self.geometry.pairs) if self.asked.costs is None else np.asarray(self.asked.costs)

    @property
    def labels(self) -> float:
        """n, or the constant N_0 = budget / mean cost over all pairs."""
        return self.settings["budget"] / float(self.costs.mean())

    def words(self) -> str:
        """Which constraints are on, for the message of a failed assertion."""
        limits, settings = self.asked, self.settings
        said = [f"{settings['spread']}, r {self.r:g}, budget {settings['budget']:g}, labels {self.labels:g}"]
        said += [f"{name} {settings[name]}" for name in ("pinned", "excluded") if len(settings[name])]
        said += [] if limits.per_prompt is None else [f"own caps {limits.per_prompt}"]
        said += [f"quotas {dict(limits.quotas)} of strata {limits.strata}"] if limits.quotas else []
        share = limits.generator_share
        said += [] if share is None else [f"generator share {share} of {limits.generators}"]
        said += [] if limits.costs is None else [f"costs {np.round(limits.costs, 3)}"]
        said += [f"mean at most {mean.most:g}" for mean in limits.means]
        said += [] if self.previous is None else ["earlier labels"]
        return "; ".join(said)


@dataclass(frozen=True)
class Polytope:
    """The designs allowed, over pi in labels: A_eq pi = b_eq, A_ub pi <= b_ub, low <= pi <= high.

    kinds: per row of A_ub what it is, ("budget" | "prompt" | "generator" | "mean", number). strata: (P,) stratum of each prompt,
    one for all without quotas. blocks: (strata,) what each may spend. totals: (P,) balanced, in the budget's units.
    """

    A_eq: np.ndarray
    b_eq: np.ndarray
    A_ub: np.ndarray
    b_ub: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kinds: tuple[tuple[str, int], ...]
    strata: np.ndarray
    blocks: np.ndarray
    totals: np.ndarray | None


class NoDesign(Exception):
    """The constraints leave no design."""


def generator_rows(case: ConstrainedCase) -> dict[int, np.ndarray]:
    """Generator number -> (pairs,) 1 where either response of the pair is its own; those whose share is capped."""
    share, generators = case.asked.generator_share, case.asked.generators
    if share is None or generators is None:
        return {}
    numbers = sorted(share) if isinstance(share, dict) else sorted(set(generators[generators >= 0].tolist()))
    first, second = case.geometry.endpoints(np.arange(case.geometry.pairs))
    return {g: ((generators[first] == g) | (generators[second] == g)).astype(float) for g in numbers}


def _shared_out(rates: np.ndarray, low: np.ndarray, high: np.ndarray, total: float) -> np.ndarray:
    """clip(tau rates, low, high) summing to total, by bisection of tau."""
    if low.sum() > total + 1e-9 or high.sum() < total - 1e-9:
        raise NoDesign
    small, large = 0.0, 1.0
    while np.clip(large * rates, low, high).sum() < total - 1e-9 and large < 1e12:
        large *= 2
    for _ in range(200):
        tau = (small + large) / 2
        small, large = (tau, large) if np.clip(tau * rates, low, high).sum() < total else (small, tau)
    return np.clip(large * rates, low, high)


def _made_whole(blocks: np.ndarray, low: np.ndarray, high: np.ndarray, total: int) -> np.ndarray:
    """Floor all, then one label each by largest fraction, the lower number first."""
    whole = np.clip(np.floor(blocks + 1e-9), np.ceil(low - 1e-9), np.floor(high + 1e-9))
    fraction = np.round(blocks - whole, 9)
    while whole.sum() < total:
        room = [s for s in range(len(whole)) if whole[s] + 1 <= high[s] + 1e-9]
        if not room:
            raise NoDesign
        s = min(room, key=lambda s: (-fraction[s], s))
        whole[s] += 1
        fraction[s] -= 1
    if whole.sum() > total:
        raise NoDesign
    return whole


def polytope_of(case: ConstrainedCase) -> Polytope:
    """Every constraint of a case, from its settings alone. Raises NoDesign where the totals already cannot be met."""
    geometry, limits, r, costs = case.geometry, case.asked, case.r, case.costs
    budget, spread, count = float(case.settings["budget"]), case.settings["spread"], geometry.prompts
    of, omega = membership(geometry), geometry.prompt_weights
    low, high = np.zeros(geometry.pairs), np.full(geometry.pairs, r)
    low[case.settings["pinned"]] = r
    high[case.settings["excluded"]] = 0.0
    owns = np.broadcast_to(np.inf if limits.per_prompt is None else limits.per_prompt, (count,))
    pinned = of @ low
    if np.any(pinned > owns):
        raise NoDesign
    capacity = np.array([min(high[row > 0].sum(), own) for row, own in zip(of, owns, strict=True)])

    def most(caps: np.ndarray) -> np.ndarray:
        """(P,) the most that can be spent on each prompt within so many labels, its pins bought."""
        spent = of @ (low * costs)
        for x, left in enumerate(caps - pinned):
            for e in sorted(np.flatnonzero(of[x]), key=lambda e: -costs[e]):
                bought = min(left, high[e] - low[e], budget / costs[e])  # past the budget all is alike
                left -= bought
                spent[x] += costs[e] * bought
        return spent

    strata = np.asarray(limits.strata) if limits.quotas else np.zeros(count, dtype=int)
    within = np.eye(strata.max() + 1)[strata].T  # (strata, P)
    dearest, spent = np.minimum(most(capacity), budget), of @ (low * costs)
    if limits.quotas:
        asked = np.array([limits.quotas.get(s, (0.0, np.inf)) for s in range(len(within))], dtype=float)
        least = np.maximum(asked[:, 0], within @ spent)
        greatest = np.minimum(asked[:, 1], within @ dearest)
        if np.any(least > greatest + 1e-9):
            raise NoDesign
        blocks = _shared_out(within @ omega, least, np.maximum(greatest, least), budget)
        if limits.costs is None:
            blocks = _made_whole(blocks, least, greatest, int(budget))
    else:
        blocks = np.array([budget])
    totals, caps = None, capacity
    if spread == "balanced":
        totals = np.zeros(count)
        for mine, block in zip(within > 0, blocks, strict=True):
            totals[mine] = _shared_out(omega[mine], spent[mine], dearest[mine], block)
    if spread == "capped":
        caps = np.zeros(count)
        for mine, block in zip(within > 0, blocks, strict=True):
            tau = block * case.labels / budget
            while True:
                share = np.where(mine, omega, 0.0) / omega[mine].sum()
                caps_now = np.minimum(np.maximum(np.ceil(tau * share - 1e-9), 1.0), capacity)
                caps_now = np.where(mine, np.maximum(caps_now, pinned), pinned)
                if most(caps_now)[mine].sum() >= block - 1e-9:
                    break
                if np.all(caps_now[mine] >= capacity[mine]):
                    raise NoDesign
                tau *= 1.1
            caps[mine] = caps_now[mine]
    shares = limits.generator_share
    rows = generator_rows(case)
    share_of = {g: float(shares[g] if isinstance(shares, dict) else shares) for g in rows}
    bounded = [x for x in range(count) if np.isfinite(caps[x])]
    equal, right = (of if totals is not None else within @ of) * costs, blocks if totals is None else totals
    at_most, limit = list(of[bounded]), list(caps[bounded])
    kinds = [("prompt", x) for x in bounded]
    if limits.costs is not None and totals is None and not limits.quotas:  # a budget need not be spent to the end
        at_most, limit, kinds = [*equal, *at_most], [*right, *limit], [("budget", 0), *kinds]
        equal, right = equal[:0], right[:0]
    means = [mean.values - mean.most for mean in limits.means]
    return Polytope(
        A_eq=equal,
        b_eq=right,
        A_ub=np.array([*at_most, *rows.values(), *means]).reshape(-1, geometry.pairs),
        b_ub=np.array(
            [*limit, *(math.floor(share_of[g] * case.labels + 1e-9) for g in rows), *(0.0 for _ in means)], dtype=float
        ),
        low=low,
        high=high,
        kinds=tuple(kinds + [("generator", g) for g in rows] + [("mean", k) for k in range(len(means))]),
        strata=strata,
        blocks=blocks,
        totals=totals,
    )


def _linear_program(at: Polytope, values: np.ndarray) -> Any:
    return linprog(
        -values,
        A_eq=at.A_eq if len(at.A_eq) else None,
        b_eq=at.b_eq if len(at.A_eq) else None,
        A_ub=at.A_ub if len(at.A_ub) else None,
        b_ub=at.b_ub if len(at.A_ub) else None,
        bounds=np.stack([at.low, at.high], axis=1),
        method="highs",
    )


def some_design_exists(case: ConstrainedCase) -> bool:
    """Whether any design keeps every constraint (linear programming), under a limit on a mean one of some labels."""
    try:
        answer = _linear_program(polytope_of(case), np.ones(case.geometry.pairs))
        return bool(answer.status == 0 and (not case.asked.means or -answer.fun > 1e-6))
    except NoDesign:
        return False


def whole_rows(case: ConstrainedCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, least and greatest of a batch of whole labels (no costs): prompts of balanced spread to floor or ceil."""
    at = polytope_of(case)
    within = np.eye(len(at.blocks))[at.strata].T @ membership(case.geometry)
    rows, least, greatest = [within, at.A_ub], [at.blocks, np.full(len(at.b_ub), -np.inf)], [at.blocks, at.b_ub]
    if at.totals is not None:
        rows.append(membership(case.geometry))
        least.append(np.floor(at.totals + 1e-7))
        greatest.append(np.ceil(at.totals - 1e-7))
    return np.concatenate(rows), np.concatenate(least), np.concatenate(greatest)


def whole_batch_exists(case: ConstrainedCase) -> bool:
    """Whether some whole numbers of labels keep every constraint (integer programming; no costs)."""
    at, (rows, least, greatest) = polytope_of(case), whole_rows(case)
    answer = milp(
        np.zeros(case.geometry.pairs),
        constraints=LinearConstraint(rows, least, greatest),
        integrality=np.ones(case.geometry.pairs),
        bounds=Box(at.low, at.high),
    )
    return bool(answer.status == 0)


def best_linear_constrained(case: ConstrainedCase, values: np.ndarray) -> float:
    """max <w, values> over the designs of a case by linear programming, pins included, in measure units."""
    answer = _linear_program(polytope_of(case), values / case.labels)
    assert answer.status == 0, answer.message
    return -float(answer.fun)


def conic_optimum_constrained(case: ConstrainedCase) -> float:
    """The best f of a case by cvxpy and Clarabel."""
    import cvxpy as cp

    z, at = explicit_vectors(case.geometry), polytope_of(case)
    pi = cp.Variable(case.geometry.pairs)
    bounded = np.isfinite(at.high)
    wanted = [pi >= at.low, *([at.A_eq @ pi == at.b_eq] if len(at.A_eq) else [])]
    wanted += [pi[np.flatnonzero(bounded)] <= at.high[bounded]] if bounded.any() else []
    wanted += [at.A_ub @ pi <= at.b_ub] if len(at.A_ub) else []
    S = z.T @ cp.diag(pi / case.labels) @ z + prior_of(case)
    goal = cp.Problem(cp.Minimize(cp.matrix_frac(np.linalg.cholesky(case.criterion.fisher.numpy()), S)), wanted)
    goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert goal.status in ("optimal", "optimal_inaccurate"), goal.status
    return float(goal.value)


def prior_of(case: ConstrainedCase) -> np.ndarray:
    """Lambda = ridge s I + what earlier labels told, per label of this design."""
    z = explicit_vectors(case.geometry)
    scale = np.trace(z.T @ z / len(z)) / case.geometry.dim
    earlier = 0.0 if case.previous is None else case.previous / case.labels
    return case.ridge * scale * np.eye(case.geometry.dim) + earlier


def assert_feasible_constrained(case: ConstrainedCase, weights: np.ndarray) -> None:
    """The design keeps every constraint, to rounding."""
    pi, at = weights * case.labels, polytope_of(case)
    assert np.abs(at.A_eq @ pi - at.b_eq).max(initial=0.0) < 1e-7, case.words()
    assert np.all(pi >= at.low - 1e-8), case.words()
    assert np.all(pi <= at.high + 1e-8), case.words()
    if len(at.A_ub):
        assert np.all(at.A_ub @ pi <= at.b_ub + 1e-7), case.words()


def constrained_case(
    seed: int, *, wanted: Callable[[ConstrainedCase], bool] | None = None, **fixed: Any
) -> ConstrainedCase:
    """A random problem under a random combination of constraints; some design (and `wanted`) holds.

    The seed decides which constraints are on, the amounts are drawn until a design exists. fixed: choices made by
    the caller: spread, r, and true or false for pins, outs, caps, generators, quotas, costs, previous. means: true for
    limits on the means of one or two numbers per pair, tight on purpose (default: none).
    """
    rng = np.random.default_rng([seed, 11])
    on: dict[str, Any] = {
        "spread": str(rng.choice(["free", "balanced", "capped"])),
        "r": float(rng.choice([1.0, 2.0, np.inf])),
        **{name: bool(rng.random() < 0.5) for name in ("pins", "outs", "caps", "generators", "quotas", "costs")},
        "previous": bool(rng.random() < 0.4),
        "means": False,
        **fixed,
    }
    on["pins"] = on["pins"] and math.isfinite(on["r"])
    for attempt in range(2000):
        case = _draw_case(np.random.default_rng([seed, 12, attempt]), seed * 2000 + attempt, on)
        if some_design_exists(case) and (wanted is None or wanted(case)):
            return case
    raise AssertionError(f"seed {seed} with {on}: no feasible amounts drawn")


def _draw_case(rng: np.random.Generator, shape_seed: int, on: dict[str, Any]) -> ConstrainedCase:
    prompts, dim, r = int(rng.integers(4, 8)), int(rng.integers(3, 5)), on["r"]
    geometry = random_geometry(shape_seed, prompts=prompts, dim=dim, smallest=2, largest=6)
    pairs, limits = geometry.pairs, (nothing := Limits())
    order = rng.permutation(pairs)
    outs = order[: rng.integers(1, 2 + pairs // 5)] if on["outs"] or on["previous"] else order[:0]
    pins = order[len(outs) :][: rng.integers(1, 2 + pairs // 10)] if on["pins"] else order[:0]
    costs = np.ones(pairs)
    if on["costs"]:
        costs = rng.uniform(0.5, 2.0, size=pairs)
        if rng.random() < 0.3:  # a price per prompt
            costs = rng.uniform(0.5, 2.0, size=prompts)[geometry.prompt_of(np.arange(pairs))]
        limits = replace(limits, costs=costs)
    if on["caps"]:
        caps = rng.integers(1, 5, size=prompts).astype(float)
        caps[rng.random(prompts) < 0.3] = np.inf
        limits = replace(limits, per_prompt=caps if rng.random() < 0.8 else float(rng.integers(1, 5)))
    own = np.broadcast_to(np.inf if limits.per_prompt is None else limits.per_prompt, (prompts,))
    free = geometry.pair_counts - np.bincount(geometry.prompt_of(outs), minlength=prompts)
    room = np.minimum(np.where(free > 0, free * min(r, 4.0), 0.0), own).sum()
    least = max(2.0, len(pins) * r if len(pins) else 0.0)
    budget = float(rng.integers(int(least), int(max(room, least)) + 1))
    if on["costs"]:
        budget *= costs.mean() * rng.uniform(0.6, 1.1)
    if on["quotas"] or rng.random() < 0.2:
        kinds = int(rng.integers(2, 4))
        strata = rng.permutation(np.concatenate([np.arange(kinds), rng.integers(0, kinds, size=prompts - kinds)]))
        names = tuple(f"subject {s}" for s in range(kinds))
        limits = replace(limits, strata=strata, stratum_names=names)
    if on["quotas"]:
        quotas = {}
        for s in rng.permutation(kinds)[: rng.integers(1, kinds + 1)].tolist():
            middle = budget * geometry.prompt_weights[strata == s].sum() * rng.uniform(0.5, 1.7)
            lo, hi = middle * rng.uniform(0.0, 1.0), middle * rng.uniform(1.0, 1.6)
            lo, hi = (lo, hi) if on["costs"] else (float(math.floor(lo)), float(math.ceil(hi)))
            quotas[s] = (lo, math.inf if rng.random() < 0.25 else hi)
        limits = replace(limits, quotas=quotas)
    if on["generators"]:
        several = int(rng.integers(3, 5))
        rows = len(geometry.features)
        generators = rng.integers(0, several, size=rows)
        generators[rng.random(rows) < (0.15 if rng.random() < 0.5 else 0.0)] = -1
        share: float | dict[int, float] = float(rng.uniform(0.4, 0.9))
        if rng.random() < 0.4:
            some = rng.permutation(several)[: rng.integers(1, several + 1)].tolist()
            share = {g: float(rng.uniform(0.3, 0.9)) for g in some}
        names = tuple(f"model {g}" for g in range(several))
        limits = replace(limits, generators=generators, generator_names=names, generator_share=share)
    if on["means"]:
        draw = np.random.default_rng([shape_seed, 17])
        limits = replace(limits, means=tuple(_draw_mean(draw, geometry, k) for k in range(draw.integers(1, 3))))
    previous = None
    if on["previous"]:
        z, half = explicit_vectors(geometry)[outs], rng.standard_normal((dim, dim))
        previous = z.T @ (z * rng.uniform(0.2, 1.0, size=(len(outs), 1))) + 0.1 * half @ half.T
    settings = {
        "budget": budget if on["costs"] else int(budget),
        "max_labels_per_pair": r,
        "spread": on["spread"],
        "pinned": pins,
        "excluded": outs,
    }
    ridge = float(rng.choice([0.01, 0.1, 1.0]))
    fisher = random_fisher(shape_seed, dim)
    criterion = make_criterion(geometry, fisher, ridge=ridge)
    case = ConstrainedCase(geometry, criterion, settings, None if limits is nothing else limits, previous, ridge)
    return replace(case, criterion=replace(criterion, prior=torch.as_tensor(prior_of(case))))


def _draw_mean(rng: np.random.Generator, geometry: Geometry, number: int) -> MeanLimit:
    """A limit below the mean over all pairs: of differences of log lengths, or of numbers of either sign."""
    first, second = geometry.endpoints(np.arange(geometry.pairs))
    lengths = rng.gamma(2.0, 300.0, size=len(geometry.features))
    values = np.abs(np.log1p(lengths[first]) - np.log1p(lengths[second]))
    if number or rng.random() < 0.2:
        values = rng.standard_normal(geometry.pairs)
    return MeanLimit(f"number {number}", values, float(values.mean() - rng.uniform(0.05, 1.0) * values.std()))
