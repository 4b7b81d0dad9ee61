"""What is wrong with the features of a pool and with a design on them (docs/method.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.uniform import uniform_design
from curation.health.finding import Finding
from curation.insight.concentration import background_sample, pair_table, share_by
from curation.pool.schema import Pool
from curation.representation.fisher.base import Probabilities

EXAMPLES = 200  # ids listed with a finding
NEAR = 0.01  # share of the median squared distance within prompts under which two responses are the same
UNTAUGHT = 0.05  # share of what a random pair of candidates says, under which a direction cannot be taught
MATTERS = 0.25  # share of the mean Fisher eigenvalue from which a direction matters
TOP = 0.01  # share of the responses that are called a few
DOMINANT = 0.1  # share of the squared norm that a few may hold
OVERDRAWN = 2.0  # times its share under uniform labels that a generator may draw
OVERDRAWN_SHARE = 0.1  # and the share of the labels from which it matters


def near_features(pool: Pool, matrix: NDArray[np.float32]) -> Finding | None:
    """Responses of one prompt that the features do not tell apart, though their texts differ.

    matrix: (N, p), one row per response in pool order. Distances are of rows scaled to length 1; "the same" is under
    NEAR of the median squared distance within prompts.
    """
    offsets = pool.offsets()
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = matrix / np.where(norms > 0, norms, 1.0)
    close: list[tuple[int, int, int, float]] = []
    distances = [_distances(rows[offsets[x] : offsets[x + 1]]) for x in range(len(pool.prompts))]
    usual = float(np.median(np.concatenate([d[np.triu_indices(len(d), 1)] for d in distances])))
    if usual <= 0:
        return None  # nothing differs anywhere: fitting the space says so
    for x, squared in enumerate(distances):
        texts = [response.text for response in pool.prompts[x].responses]
        for i, j in np.argwhere(np.triu(squared <= NEAR * usual, 1)):
            if texts[i] != texts[j]:
                close.append((x, int(i), int(j), float(squared[i, j])))
    if not close:
        return None
    close.sort(key=lambda item: item[3])
    return Finding(
        key="near_features",
        severity="warning",
        title="Responses the features cannot tell apart",
        sentence=f"{len(close):,} pairs of different texts, in {len({item[0] for item in close}):,} prompts, lie "
        "closer than a tenth of the usual distance between answers to one prompt: to the model they are the same.",
        value=float(len(close)),
        unit="pairs",
        remedy="Exclude these pairs, or use another layer, pooling or model if their texts do differ in what matters.",
        examples=tuple(
            (
                pool.prompts[x].prompt_id,
                pool.prompts[x].responses[i].response_id,
                pool.prompts[x].responses[j].response_id,
            )
            for x, i, j, _ in close[:EXAMPLES]
        ),
    )


def _distances(block: NDArray[Any]) -> NDArray[np.float64]:
    gram = (block @ block.T).astype(np.float64)
    norms = np.diag(gram)
    return np.asarray(np.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0.0))


def outliers(pool: Pool, phi: NDArray[np.float64]) -> Finding | None:
    """A few responses that hold much of the pool's squared norm, and so draw the design. phi: (N, d), centred."""
    size = np.einsum("ij,ij->i", phi, phi)
    few = max(1, round(TOP * len(size)))
    order = np.argsort(-size, kind="stable")
    share = float(size[order[:few]].sum() / size.sum())
    if len(size) < 100 or share <= DOMINANT:
        return None
    ids = pool.ids()
    return Finding(
        key="outliers",
        severity="warning",
        title="A few responses dominate the features",
        sentence=f"{few:,} of {len(size):,} responses hold {share:.0%} of the squared length of all features "
        f"(their prompt's mean taken off): a design is drawn to them.",
        value=share,
        unit="of the squared length",
        remedy="Read them: broken answers should go. Otherwise normalise the features, and keep labels spread.",
        examples=tuple(ids[int(i)] for i in order[:few][:EXAMPLES]),
    )


def crowded(pool: Pool, probabilities: Probabilities) -> Finding | None:
    """Prompts in which the Fisher's policy knows one candidate only."""
    words = probabilities.warning()
    if words is None:
        return None
    order = np.argsort(probabilities.effective, kind="stable")
    return Finding(
        key="crowded",
        severity="warning",
        title="The reference's mass sits on one candidate",
        sentence=words[0].upper() + words.split(":")[0][1:] + ".",
        value=probabilities.crowded,
        unit="of the prompts",
        remedy="Use --fisher uniform, log-probabilities per token, or a higher temperature.",
        examples=tuple(
            (pool.prompts[int(x)].prompt_id,) for x in order[: round(probabilities.crowded * len(order))][:EXAMPLES]
        ),
    )


def overdrawn(pool: Pool, feasible: Feasible, weights: torch.Tensor) -> Finding | None:
    """Generators that the design asks for far more often than uniform labels under the same constraints would."""
    geometry = feasible.geometry
    if len({r.generator for p in pool.prompts for r in p.responses}) < 3:
        return None
    support = (weights > 0).nonzero().squeeze(1).cpu().numpy()
    everywhere = background_sample(geometry)
    numbers = np.unique(np.concatenate([support, everywhere]))
    table = pair_table(pool, geometry, numbers)
    uniform = uniform_design(feasible).cpu().numpy()[numbers] * np.isin(numbers, everywhere)
    keys = [*table["generator_a"], *table["generator_b"]]
    designed = weights.cpu().numpy()[numbers]
    shares = share_by(keys, np.concatenate([designed, designed]), np.concatenate([uniform, uniform]))
    # a share is of label ends here, so a generator in every label has one half
    bad = shares[(shares["ratio"] >= OVERDRAWN) & (2 * shares["weight"] >= OVERDRAWN_SHARE)]
    if bad.empty:
        return None
    first = bad.iloc[0]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return Finding(
        key="overdrawn",
        severity="warning",
        title="A generator draws more than its share",
        sentence=f"Generator {first['key']}{more} takes part in {2 * first['weight']:.0%} of the design's labels, "
        f"{first['ratio']:.1f} times what uniform labels would give it.",
        value=float(first["ratio"]),
        unit="times its share",
        remedy="Look at its answers: odd or broken ones attract a design. Hold it with --generator-share, or drop it.",
        examples=tuple((str(name),) for name in bad["key"]),
    )


def unteachable(
    pool: Pool, phi: NDArray[np.float64], feasible: Feasible, fisher: NDArray[np.float64]
) -> Finding | None:
    """Directions that matter and that no feasible design can teach, with the prompts that need other candidates.

    phi: (N, d), centred within prompts. fisher: (d, d) = M. In the Fisher's own metric, the directions about which the
    admissible pairs say least are found by a generalised eigenproblem; one counts as untaught where the best feasible
    design for it says less than UNTAUGHT of what a random pair of the Fisher's candidates would, 2 u' M u.
    """
    geometry = feasible.geometry.plain  # what pairs differ in, whatever a label of them is worth
    values, vectors = scipy.linalg.eigh(fisher)
    keep = values > 1e-8 * values[-1]
    half = vectors[:, keep] / np.sqrt(values[keep])
    every = torch.as_tensor(uniform_design(feasible), device=geometry.device)
    every = every.masked_fill(feasible.blocked, 0.0)
    taught = geometry.information(every / every.sum()).cpu().numpy()
    gamma, turned = scipy.linalg.eigh(half.T @ taught @ half)
    found: list[tuple[NDArray[np.float64], float]] = []
    mean = float(values.mean())
    for k in np.flatnonzero(gamma < UNTAUGHT):
        u = half @ turned[:, k]
        u /= np.linalg.norm(u)
        wanted = 2 * float(u @ fisher @ u)
        if wanted < 2 * MATTERS * mean:
            continue
        squares = geometry.linear(torch.as_tensor(u, device=geometry.device)).square()
        _, _, reach = maximise(feasible, squares)
        if reach + feasible.pinned_value(squares) < UNTAUGHT * wanted:
            found.append((u, wanted))
    if not found:
        return None
    weight = sum(wanted for _, wanted in found) / 2 / float(np.trace(fisher))
    prompts = _wanting(phi, [u for u, _ in found], feasible)
    return Finding(
        key="unteachable",
        severity="warning",
        title="Directions that matter and that no label can teach",
        sentence=f"{len(found)} of {int(keep.sum())} directions, {weight:.0%} of what the reference policy varies in, "
        "differ between candidates but hardly between the pairs that may be labelled: the best feasible design says "
        f"less than {UNTAUGHT:.0%} about them of what a random pair of candidates would. {len(prompts):,} prompts hold "
        "most of it.",
        value=float(len(found)),
        unit="directions",
        remedy="Allow more pairs of these prompts, loosen what excludes them, or generate more diverse candidates.",
        examples=tuple((pool.prompts[x].prompt_id,) for x in prompts[:EXAMPLES]),
    )


def _wanting(phi: NDArray[np.float64], directions: Sequence[NDArray[np.float64]], feasible: Feasible) -> list[int]:
    """Prompts by falling need: what their candidates differ along the directions, where no admissible pair does."""
    geometry = feasible.geometry.plain
    offsets = geometry.offsets
    along = np.stack([phi @ u for u in directions], axis=1)  # centred within prompts as phi is
    counts = np.diff(offsets)
    spread = np.add.reduceat((along**2).sum(axis=1), offsets[:-1]) / counts
    best = np.zeros(geometry.prompts)
    for u in directions:
        squares = geometry.linear(torch.as_tensor(u, device=geometry.device)).square()
        squares = squares.masked_fill(feasible.blocked, 0.0)
        totals = np.zeros(geometry.prompts)
        np.maximum.at(totals, geometry.prompt_of(np.arange(geometry.pairs)), squares.cpu().numpy())
        best += totals
    need = geometry.prompt_weights * spread * (best < spread)
    order = np.argsort(-need, kind="stable")
    held = np.cumsum(need[order]) / max(need.sum(), 1e-300)
    enough = int(np.searchsorted(held, 0.9)) + 1
    return [int(x) for x in order[:enough] if need[x] > 0]


def feature_findings(
    pool: Pool,
    *,
    matrix: NDArray[np.float32],
    phi: NDArray[np.float64],
    fisher: NDArray[np.float64],
    probabilities: Probabilities,
    feasible: Feasible,
    weights: torch.Tensor,
) -> list[Finding]:
    """Every finding about the features and a design (weights: (pairs,)) on them, in order of what it would waste."""
    found = [
        unteachable(pool, phi, feasible, fisher),
        near_features(pool, matrix),
        outliers(pool, phi),
        overdrawn(pool, feasible, weights),
        crowded(pool, probabilities),
    ]
    return [finding for finding in found if finding is not None]
