"""What labels say: the evidence is the integral, a prompt left out is a refit, and planted pools are told apart."""

from collections import Counter

import numpy as np
import pytest
from scipy.special import expit

from curation.insight.learning import LearningError, Outcomes, learn, longer_wins
from curation.insight.learning_fit import deal_prompts, fit_laplace, log_joint, predict
from curation.insight.learning_intervals import clustered_share
from tests.desk.learning import planted

SEEDS = 30


@pytest.mark.parametrize(
    ("kind", "labels", "verdict", "length"),
    [
        ("leading", 300, "leading", False),
        ("small", 300, "small", False),
        ("nothing", 70, "unknown", False),
        ("nothing", 300, "unknown", False),
        ("length", 150, "unknown", True),
    ],
)
def test_planted_truths_are_told_in_nine_of_ten_seeds(kind: str, labels: int, verdict: str, length: bool) -> None:
    told = [learn(*planted(seed, labels, kind), folds=0) for seed in range(SEEDS)]
    verdicts = Counter(one.verdict for one in told)
    assert verdicts[verdict] >= 0.9 * SEEDS, verdicts
    assert sum(one.length_matters == length for one in told) >= 0.9 * SEEDS
    if verdict == "unknown":
        assert sum("too few" in one.sentences()[0] for one in told) >= 0.9 * SEEDS
    if kind == "leading":
        assert np.mean([one.leading[0].share.value for one in told]) > 0.85 > told[0].leading[0].chance
    if kind == "small":
        assert np.mean([one.leading[0].share.value for one in told]) < 0.2 < told[0].leading[0].chance


def test_held_out_figures_cover_the_truth_and_see_nothing_in_random_labels() -> None:
    nothing = [learn(*planted(seed, 100, "nothing", d=12)).held_out for seed in range(SEEDS)]
    real = [learn(*planted(seed, 200, "leading", d=12)).held_out for seed in range(10)]
    assert None not in nothing + real
    assert sum(one.gain.low > 0 for one in nothing) <= 0.1 * SEEDS
    assert sum(one.accuracy.low <= 0.5 <= one.accuracy.high for one in nothing) >= 0.9 * SEEDS
    assert sum(one.gain.low > 0 for one in real) >= 9


def test_gradient_and_hessian_agree_with_finite_differences() -> None:
    rng = np.random.default_rng(0)
    rows, trials = rng.standard_normal((30, 4)), rng.integers(1, 4, 30).astype(float)
    wins = np.round(trials * rng.random(30) * 2) / 2
    precision, at, step = rng.gamma(2.0, size=4), rng.standard_normal(4), 1e-5
    _, gradient, curvature = log_joint(at, rows, wins, trials, precision)
    for k, unit in enumerate(np.eye(4)):
        up = log_joint(at + step * unit, rows, wins, trials, precision)
        down = log_joint(at - step * unit, rows, wins, trials, precision)
        assert gradient[k] == pytest.approx((up[0] - down[0]) / (2 * step), abs=1e-7)
        assert curvature[k] == pytest.approx(-(up[1] - down[1]) / (2 * step), abs=1e-6)


def test_evidence_is_the_integral_in_one_and_two_dimensions() -> None:
    rng = np.random.default_rng(1)
    rows, trials = rng.standard_normal((60, 2)), np.ones(60)
    wins = (rng.random(60) < expit(rows @ [0.8, -0.5])).astype(float)
    precision = np.array([0.5, 2.0])

    axis = np.linspace(-4.0, 4.0, 81)  # beyond, the density is nothing; the trapezoid rule is then exact

    def integral(points: np.ndarray) -> float:
        columns = points.shape[1]
        values = [log_joint(at, rows[:, :columns], wins, trials, precision[:columns])[0] for at in points]
        constant = 0.5 * np.log(precision[:columns] / (2 * np.pi)).sum() + columns * np.log(axis[1] - axis[0])
        return float(np.logaddexp.reduce(values) + constant)

    one = integral(axis[:, None])
    two = integral(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    assert fit_laplace(rows[:, :1], wins, trials, precision[:1]).log_evidence == pytest.approx(one, abs=0.01)
    assert fit_laplace(rows, wins, trials, precision).log_evidence == pytest.approx(two, abs=0.03)


def test_a_prediction_is_the_posterior_mean_of_the_probability() -> None:
    rng = np.random.default_rng(2)
    rows, wins = rng.standard_normal((40, 3)), (rng.random(40) < 0.5).astype(float)
    fit = fit_laplace(rows, wins, np.ones(40), np.full(3, 0.5))
    drawn = rng.multivariate_normal(fit.coefficients, fit.covariance(), 40_000)
    assert predict(fit, rows) == pytest.approx(expit(drawn @ rows.T).mean(0), abs=0.01)


def test_folds_keep_prompts_whole_and_take_all_of_them() -> None:
    groups = np.repeat(np.arange(23) * 7, 3)
    fold = deal_prompts(groups, 5, np.random.default_rng(0))
    assert all(len(set(fold[groups == prompt])) == 1 for prompt in set(groups))
    assert sorted(np.bincount(fold) // 3) == [4, 4, 5, 5, 5]


def test_a_share_is_as_sure_as_its_prompts_and_not_as_its_labels() -> None:
    rng = np.random.default_rng(3)
    one = (rng.random(60) < 0.7).astype(float)
    alone = clustered_share(one, np.ones(60), np.arange(60))
    copied = clustered_share(np.repeat(one, 4), np.ones(240), np.repeat(np.arange(60), 4))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    apart = clustered_share(np.repeat(one, 4), np.ones(240), np.arange(240))
    assert apart.high - apart.low < 0.6 * (alone.high - alone.low)
    agreed = clustered_share(np.ones(40), np.ones(40), np.repeat(np.arange(4), 10))
    assert agreed.high == pytest.approx(1.0)
    assert agreed.low < 0.5  # four prompts prove little, however often each is asked


def test_the_interval_of_a_share_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        of_prompt = rng.beta(1.4, 0.6, 40)  # mean 0.7, labels of one prompt alike
        wins = rng.binomial(3, of_prompt).astype(float)
        told = clustered_share(wins, np.full(40, 3.0), np.arange(40))
        covered += told.low <= 0.7 <= told.high
    assert covered >= 0.93 * 400


def test_longer_wins_counts_from_the_longer_side_and_ties_half() -> None:
    length, wins = np.array([1.0, -1.0, -2.0, 0.0]), np.array([1.0, 0.0, 0.5, 1.0])
    told = longer_wins(Outcomes(np.ones((4, 1)), wins, np.ones(4), np.arange(4), length))
    assert told is not None
    assert told.value == pytest.approx(2.5 / 3)
    assert longer_wins(Outcomes(np.ones((4, 1)), wins, np.ones(4), np.arange(4), np.zeros(4))) is None


def test_what_is_learnt_does_not_hang_on_the_basis_or_on_which_response_is_first() -> None:
    outcomes, fisher = planted(5, 120, "leading", d=10)
    turn = np.linalg.qr(np.random.default_rng(6).standard_normal((10, 10)))[0]
    flip = np.where(np.arange(120) % 2 == 0, 1.0, -1.0)
    other = Outcomes(
        (outcomes.vectors * flip[:, None]) @ turn.T,
        np.where(flip > 0, outcomes.wins, 1 - outcomes.wins),
        outcomes.trials, outcomes.groups, outcomes.length * flip,
    )  # fmt: skip
    first, second = learn(outcomes, fisher), learn(other, turn @ fisher @ turn.T)
    assert second.log_evidence == pytest.approx(first.log_evidence, abs=1e-6)
    assert second.theta == pytest.approx(turn @ first.theta, abs=1e-5)
    assert second.precision == pytest.approx(turn @ first.precision @ turn.T, rel=1e-4, abs=1e-4)
    assert first.longer == second.longer


def test_every_prior_gives_a_random_pair_the_same_logit_variance() -> None:
    outcomes, fisher = planted(7, 60, "nothing", d=12)
    for power in (-1.0, 0.0, 1.0):
        made = learn(outcomes, fisher, powers=(power, 0.0) if power else (0.0,), spreads=(0.7,))
        if made.power != power:
            continue
        covariance = np.linalg.inv(made.prior_precision)
        assert np.trace(covariance @ (2 * fisher)) == pytest.approx(0.7)


def test_shares_sum_to_one_and_figures_are_strict_json() -> None:
    import json

    told = learn(*planted(8, 50, "length"))
    assert told.by_direction.sum() == pytest.approx(1.0)
    assert told.weights.sum() == pytest.approx(1.0)
    assert json.loads(json.dumps(told.to_dict(), allow_nan=False))["labels"] == 50


def test_what_cannot_be_learnt_from_is_refused_in_words() -> None:
    outcomes, fisher = planted(10, 5, "nothing", d=3)
    empty = Outcomes(outcomes.vectors, np.zeros(5), np.zeros(5), outcomes.groups, outcomes.length)
    with pytest.raises(LearningError, match="no pair has a label"):
        learn(empty, fisher)
    with pytest.raises(LearningError, match="more wins than labels"):
        learn(Outcomes(outcomes.vectors, np.full(5, 2.0), np.ones(5), outcomes.groups, outcomes.length), fisher)
    with pytest.raises(LearningError, match="3 coordinates"):
        learn(outcomes, np.eye(4))
    with pytest.raises(LearningError, match="leave out 0"):
        learn(outcomes, fisher, powers=(1.0,))


def test_one_label_and_pairs_all_alike_say_nothing_and_break_nothing() -> None:
    lone = learn(Outcomes(np.ones((1, 2)), np.ones(1), np.ones(1), np.zeros(1, int), np.zeros(1)), np.eye(2))
    assert lone.verdict == "unknown"
    assert lone.longer is None
    flat = learn(Outcomes(np.zeros((6, 2)), np.ones(6), np.ones(6), np.arange(6), np.ones(6)), np.eye(2))
    assert flat.verdict == "unknown"
    assert all(flat.sentences())
    assert lone.held_out is None
