"""From what labels say to the design that follows: one small table of bets, and the light default as fall-back.

Everything that a study may want to change is a field of `Bets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from curation.insight.learning import Outcomes, learn
from curation.insight.learning_result import Learnt, Verdict
from curation.representation.fisher_matrix import fisher_matrix
from curation.representation.segments import check_offsets, segment_sums, spread_rows
from curation.settings import DesignSettings

Array = NDArray[np.float64]
STEPS = 60  # halvings of the search for the sharpness of a policy


@dataclass(frozen=True)
class Bets:
    """The knobs of the decision. ridges: relative ridge of the power that won, where the labels are decisive; a power
    that is not named leaves the ridge alone. Leading directions are left out on purpose: on answers whose style was
    controlled labels put 83 to 87 % of the quality into the leading eighth (100 and 400 labels, one draw each), and yet
    ridge 30, which bets on it, is ruinous there (docs/method.md section 3).

    shape: whether the prior's power follows the labels', as far as 0..1 goes. prior: `ridge` keeps Lambda = ridge s P,
    `posterior` puts the learnt prior's precision in its place (braked). policy: whether Fisher matrix and label weights
    move to the fitted policy, where that is proved to know something. factors: whether a pair whose answer that policy
    foresees then counts for less in the next design too. half_trust: labels at which the policy is believed by half (nu
    of docs/method.md section 11). kl_share: its KL, as a share of the mean log number of candidates. length_share: of
    the fitted logit variance, from which a decisive length effect leaves the design. length_limit: mean |log length
    difference| that is then allowed at most, None for no limit.
    """

    ridges: tuple[tuple[float, float], ...] = ((0.5, 0.1), (1.0, 0.01))
    shape: bool = False
    prior: Literal["ridge", "posterior"] = "ridge"
    policy: bool = True
    factors: bool = False
    half_trust: float = 200.0
    kl_share: float = 0.25
    length_share: float = 0.5
    length_limit: float | None = None


@dataclass(frozen=True)
class Next:
    """What the next design does differently. changes: fields of DesignSettings; empty where the default stays.

    fisher: `settings` for the reference's matrix, `policy` for the fitted policy's. kappa: trust in that policy, 0 to
    1. factors: pairs count by what the policy leaves open. length_out: the length coordinate carries no Fisher weight.
    words: all of it for people.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    prior: Literal["ridge", "posterior"] = "ridge"
    fisher: Literal["settings", "policy"] = "settings"
    kappa: float = 0.0
    factors: bool = False
    length_out: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taught:
    """What labels said and what the next design makes of it. fisher: (d, d) = M to use.

    information: (d, d) of the labels bought, in labels of weight 1/4, with the learnt prior's where that is used.
    ridge_share: of the settings' ridge that stays beside it. preference: (d,) theta by which the next pairs' labels are
    weighed (`design.factors`), None where all count alike.
    """

    learnt: Learnt
    next: Next
    fisher: Array
    information: Array
    ridge_share: float
    preference: Array | None = None

    def to_dict(self) -> dict[str, Any]:
        """For the manifest and `--json`."""
        made = self.next
        return {
            **self.learnt.to_dict(),
            "next": {
                "changes": made.changes,
                "prior": made.prior,
                "fisher": made.fisher,
                "kappa": made.kappa,
                "factors": made.factors,
                "length_out": made.length_out,
                "words": list(made.words),
            },
        }

    def identity(self) -> list[Any]:
        """What of it decides the next batch, for its id."""
        return taught_identity(asdict(self.next))


def taught_identity(made: Mapping[str, Any]) -> list[Any]:
    """`Taught.identity` of a `Next` as a mapping, such as a manifest keeps under learnt, next."""
    names = ("changes", "prior", "fisher", "kappa", "factors", "length_out")
    return ["learnt", *(round(made[name], 9) if name == "kappa" else made[name] for name in names)]


def next_settings(
    learnt: Learnt,
    settings: DesignSettings,
    *,
    bets: Bets | None = None,
    length_in_design: bool = True,
    keep: tuple[str, ...] = (),
) -> Next:
    """The decision: changes of the settings, the prior, the Fisher matrix, and why, in words.

    length_in_design: whether the space has a length coordinate at all. keep: settings that somebody asked for by name;
    they stand, whatever the labels say.
    """
    bets = bets or Bets()
    changes: dict[str, Any] = {}
    words = []
    decided: Verdict = learnt.verdict
    table = dict(bets.ridges)
    if decided != "unknown" and learnt.power in table and not {"ridge", "ridge_kind", "preset"} & set(keep):
        ridge = table[learnt.power]
        bet = {
            "leading": "take the pairs that differ most where it matters",
            "even": "weigh directions as responses differ in them",
            "small": "teach every direction",
        }[decided]
        if (ridge, "relative") != (settings.ridge, settings.ridge_kind):
            changes = {"ridge": ridge, "ridge_kind": "relative"}
            words.append(f"Ridge {ridge:g} in place of {settings.ridge:g}: {bet}.")
        else:
            words.append(f"Ridge {ridge:g} stays: {bet}.")
    if decided != "unknown" and bets.shape and not {"prior_power", "preset"} & set(keep):
        power = min(max(learnt.power, 0.0), 1.0)
        if power != settings.prior_power:
            changes["prior_power"] = power
            words.append(f"Prior power {power:g} in place of {settings.prior_power:g}, as the labels have it.")
    posterior = bets.prior == "posterior" and decided != "unknown"
    trust = learnt.labels / (learnt.labels + bets.half_trust)
    proved = learnt.held_out is not None and learnt.held_out.proved
    kappa = trust if proved or posterior else 0.0
    if posterior:
        words.append(f"The prior of the labels' evidence counts {trust:.0%} of the way, the ridge for the rest.")
    policy = bets.policy and proved
    if policy:
        words.append(f"The fitted policy calls unseen labels, so the design moves towards it ({trust:.0%} of the way).")
    follows = learnt.length_matters and learnt.length_share >= bets.length_share
    if follows and bets.length_limit is not None and "max_length_difference" not in keep:
        changes["max_length_difference"] = bets.length_limit
        words.append(f"Length explains {learnt.length_share:.0%} of what the labels follow: pairs of like length.")
    out = length_in_design and follows
    if out:
        words.append(f"Length explains {learnt.length_share:.0%} of what the labels follow: no label is spent on it.")
    return Next(
        changes=changes,
        prior="posterior" if posterior else "ridge",
        fisher="policy" if policy else "settings",
        kappa=kappa,
        factors=policy and bets.factors,
        length_out=out,
        words=tuple(words),
    )


def teach(
    outcomes: Outcomes,
    phi: Array,
    offsets: NDArray[np.int64],
    p: Array,
    prompt_weights: Array,
    *,
    fisher: Array,
    uniform: Array | None,
    settings: DesignSettings,
    length_column: int | None,
    bets: Bets | None = None,
    keep: tuple[str, ...] = (),
) -> Taught:
    """Learn from labels and make the matrices of the design that follows.

    phi: (N, d) candidates with offsets (P + 1,), reference probabilities p (N,) and prompt weights (P,). fisher: (d, d)
    of p. uniform: (d, d) mean z z' over random pairs. length_column: of the length coordinate, None without one.
    Raises LearningError where nothing can be learnt.
    """
    bets = bets or Bets()
    learnt = learn(outcomes, fisher, uniform=uniform)
    made = next_settings(learnt, settings, bets=bets, length_in_design=length_column is not None, keep=keep)
    towards = made.kappa if made.fisher == "policy" else 0.0
    information = weighted_information(outcomes, towards * learnt.theta, towards * _effect(learnt))
    M = fisher
    if towards > 0:
        sizes = np.diff(offsets).astype(float)
        kl = towards * bets.kl_share * float(prompt_weights @ np.log(sizes) / prompt_weights.sum())
        moved = policy_at_kl(phi @ learnt.theta, p, offsets, prompt_weights, kl)
        M = fisher_matrix(phi, offsets, moved, prompt_weights)
    if made.length_out and length_column is not None:
        M = M.copy()
        M[length_column, :] = M[:, length_column] = 0.0
    ridge_share = 1.0
    if made.prior == "posterior":
        information = information + made.kappa * 4.0 * learnt.prior_precision
        ridge_share = 1.0 - made.kappa
    preference = towards * learnt.theta if made.factors else None
    return Taught(learnt, made, M, information, ridge_share, preference)


def weighted_information(outcomes: Outcomes, theta: Array, length_effect: float = 0.0) -> Array:
    """sum_e trials_e 4 s'(theta' z_e + b length_e) z_e z_e', (d, d): a label counts 1 at theta = 0, less where the
    answer was to be expected. s the logistic function."""
    mean = expit(outcomes.vectors @ theta + length_effect * outcomes.length)
    weight = outcomes.trials * 4.0 * mean * (1.0 - mean)
    return np.asarray(outcomes.vectors.T @ (outcomes.vectors * weight[:, None]))


def policy_at_kl(scores: Array, p: Array, offsets: NDArray[np.int64], prompt_weights: Array, kl: float) -> Array:
    """Probabilities (N,) of the policy p exp(t score) whose mean KL to p is `kl` nats; p where scores are alike.

    scores: (N,). p: (N,) sums to 1 in each prompt. prompt_weights: (P,). Where even the sharpest policy falls short,
    that one.
    """
    bounds = check_offsets(offsets, len(scores))
    weights = prompt_weights / prompt_weights.sum()
    starts, present = bounds[:-1], p > 0
    centred = scores - spread_rows(segment_sums(p * scores, bounds), bounds)
    spread = float(np.sqrt(spread_rows(weights, bounds) @ (p * np.square(centred))))
    if spread <= 1e-12 or kl <= 0:
        return p

    def at(t: float) -> tuple[Array, float]:
        logits = np.where(present, t * centred / spread, -np.inf)
        logits = logits - spread_rows(np.maximum.reduceat(logits, starts), bounds)
        raw = p * np.exp(logits)
        total = segment_sums(raw, bounds)
        made = raw / spread_rows(total, bounds)
        each = segment_sums(made * np.where(present, logits, 0.0), bounds) - np.log(total)
        return made, float(weights @ each)

    low, high = np.log(1e-6), np.log(1e6)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(float(np.exp(middle)))[1] < kl else (low, middle)
    return at(float(np.exp((low + high) / 2)))[0]


def _effect(learnt: Learnt) -> float:
    return 0.0 if learnt.length_effect is None else learnt.length_effect.value
