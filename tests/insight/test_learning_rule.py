"""From labels to the next design: the table, the brake, the policy at a stated KL, the information of a label."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from curation.insight.learning import Outcomes, learn
from curation.insight.learning_rule import Bets, next_settings, policy_at_kl, teach, weighted_information
from curation.representation.fisher_matrix import fisher_matrix
from curation.settings import DesignSettings
from tests.desk.learning import planted

HEAVY = Bets(ridges=((-1.0, 30.0), (-0.5, 10.0)))
SETTINGS = DesignSettings(budget=100, ridge=0.1, prior_power=0.0)


def test_the_table_is_followed_where_labels_are_decisive_and_the_default_stays_where_not() -> None:
    assert next_settings(learn(*planted(0, 300, "leading")), SETTINGS).changes == {}  # not named: nothing changes
    heavy = next_settings(learn(*planted(0, 300, "leading")), SETTINGS, bets=HEAVY)
    assert heavy.changes["ridge"] >= 10
    assert "Ridge" in heavy.words[0]
    light = next_settings(learn(*planted(0, 300, "small")), replace(SETTINGS, ridge=30.0))
    assert light.changes["ridge"] <= 0.1
    nothing = next_settings(learn(*planted(0, 70, "nothing")), SETTINGS)
    assert (nothing.changes, nothing.prior, nothing.fisher, nothing.kappa) == ({}, "ridge", "settings", 0.0)
    assert nothing.words == ()
    assert next_settings(learn(*planted(0, 300, "leading")), SETTINGS, bets=HEAVY, keep=("ridge",)).changes == {}
    small = learn(*planted(0, 300, "small"))
    assert next_settings(small, SETTINGS, bets=Bets(ridges=(), shape=True)).changes == {"prior_power": small.power}
    table = Bets(ridges=((-1.0, 7.0), (-0.5, 7.0)), half_trust=300.0)
    own = next_settings(learn(*planted(0, 300, "leading")), SETTINGS, bets=table)
    assert own.changes["ridge"] == 7.0
    assert own.kappa == pytest.approx(0.5)  # n / (n + nu)


def test_length_leaves_the_design_only_where_it_is_in_it_and_the_labels_follow_it() -> None:
    told = learn(*planted(1, 200, "length"))
    assert next_settings(told, SETTINGS).length_out
    outside = next_settings(told, SETTINGS, length_in_design=False)
    assert not outside.length_out
    assert outside.changes == {}
    limited = next_settings(told, SETTINGS, bets=Bets(length_limit=0.3), length_in_design=False)
    assert limited.changes == {"max_length_difference": 0.3}
    assert not next_settings(learn(*planted(1, 200, "leading")), SETTINGS).length_out


def test_a_label_counts_four_times_the_slope_of_the_logistic_function() -> None:
    rng = np.random.default_rng(2)
    outcomes = Outcomes(rng.standard_normal((9, 3)), np.ones(9), np.full(9, 2.0), np.arange(9), np.ones(9))
    theta, step = rng.standard_normal(3), 1e-6
    plain = weighted_information(outcomes, np.zeros(3))
    assert plain == pytest.approx(2 * outcomes.vectors.T @ outcomes.vectors)
    eta = outcomes.vectors @ theta + 0.7
    slope = (expit(eta + step) - expit(eta - step)) / (2 * step)
    by_hand = sum(2 * 4 * s * np.outer(z, z) for s, z in zip(slope, outcomes.vectors, strict=True))
    assert weighted_information(outcomes, theta, 0.7) == pytest.approx(by_hand, rel=1e-6)


def test_the_policy_reaches_the_kl_asked_for_and_prefers_what_scores_high() -> None:
    rng = np.random.default_rng(3)
    offsets = np.array([0, 3, 8, 10])
    p = np.concatenate([rng.dirichlet(np.ones(k)) for k in (3, 5, 2)])
    weights, scores = np.array([0.5, 0.2, 0.3]), rng.standard_normal(10)
    made = policy_at_kl(scores, p, offsets, weights, 0.2)
    parts = list(itertools.pairwise(offsets))
    assert [made[a:b].sum() for a, b in parts] == pytest.approx([1, 1, 1])
    kl = sum(w * np.sum(made[a:b] * np.log(made[a:b] / p[a:b])) for w, (a, b) in zip(weights, parts, strict=True))
    assert kl == pytest.approx(0.2, abs=1e-9)
    assert all(made[a:b] @ scores[a:b] > p[a:b] @ scores[a:b] for a, b in parts)
    assert policy_at_kl(np.ones(10), p, offsets, weights, 0.2) == pytest.approx(p)


@pytest.mark.parametrize("prior", ["ridge", "posterior"])
def test_teaching_moves_fisher_and_information_by_the_trust_earned(prior: str) -> None:
    outcomes, _ = planted(4, 300, "leading", d=8)
    rng = np.random.default_rng(4)
    offsets = np.arange(0, 201, 4)
    phi = rng.standard_normal((200, 8)) * np.arange(1, 9) ** -0.5
    p, weights = np.full(200, 0.25), np.full(50, 1 / 50)
    M = fisher_matrix(phi, offsets, p, weights)

    def made(**knobs: object) -> object:
        return teach(
            outcomes, phi, offsets, p, weights, fisher=M, uniform=None, settings=SETTINGS, length_column=None,
            bets=Bets(prior=prior, **knobs),  # type: ignore[arg-type]
        )  # fmt: skip

    plain = outcomes.vectors.T @ outcomes.vectors
    nobody, half, full = made(policy=False), made(half_trust=300.0), made(half_trust=1e-9)
    assert nobody.fisher == pytest.approx(M)  # type: ignore[attr-defined]
    for taught, kappa in ((nobody, 300 / 500), (half, 0.5), (full, 1.0)):
        said = taught.learnt  # type: ignore[attr-defined]
        extra = 0.0
        if taught.next.prior == "posterior":  # type: ignore[attr-defined]
            extra = 4 * kappa * said.prior_precision
            assert taught.ridge_share == pytest.approx(1 - kappa, abs=1e-9)  # type: ignore[attr-defined]
        bought = taught.information - extra  # type: ignore[attr-defined]
        assert np.trace(bought) <= np.trace(plain) + 1e-9
    towards = np.linalg.norm(full.fisher - M) > np.linalg.norm(half.fisher - M) > 0  # type: ignore[attr-defined]
    assert towards
