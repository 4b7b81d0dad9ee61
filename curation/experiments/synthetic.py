"""Synthetic ground truth: four ways to choose comparisons, judged by the policy they lead to (HGM's experiments).

Rewards are known, labels are Bradley-Terry draws on them, DPO's estimate is the (slightly regularised) maximum
likelihood over the comparisons drawn, and the gap is J(p*) - J(p_hat), J(p) = E r - beta KL(p || pi_0), whose optimum
is p* proportional to pi_0 exp(r / beta). Every seed draws its own rewards, reference and comparisons.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.errors import CurationError
from curation.settings import workspace

Kind = Literal["tabular", "contextual"]
Floats = NDArray[np.float64]
DESIGNS = ("oracle", "plug_in", "uniform", "reference_weighted")
RIDGE = 1e-4  # relative ridge of the designs: next to nothing, as in the paper
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Settings:
    """One experiment. The defaults of each kind are in TABULAR and CONTEXTUAL.

    reference_deviation: of the reference's logits, which decides how uneven it is. reward_deviation: of the rewards.
    pull: ridge of the estimate toward the reference, the same for every design; 0.01 is a normal prior on theta
    of deviation 10, which keeps candidates that were never compared finite and decides nothing else.
    """

    kind: Kind
    prompts: int
    candidates: int
    dim: int  # of theta; the number of candidates where tabular
    reference_deviation: float = 2.0
    reward_deviation: float = 0.3
    beta: float = 1.0
    pull: float = 0.01
    labels: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200, 6400)
    seeds: int = 200


TABULAR = Settings("tabular", prompts=1, candidates=20, dim=20)
CONTEXTUAL = Settings("contextual", prompts=25, candidates=8, dim=10, reference_deviation=4.0)


@dataclass(frozen=True)
class Instance:
    """What one seed draws. phi: (P, K, d). reference: (P, K) log pi_0. theta: (d,), rewards are phi theta."""

    phi: Floats
    reference: Floats
    theta: Floats

    @property
    def rewards(self) -> Floats:
        """(P, K)."""
        return np.asarray(self.phi @ self.theta)


@dataclass(frozen=True)
class Curves:
    """The result. gaps: design -> (seeds, labels). seconds: of the whole run."""

    settings: Settings
    gaps: dict[str, Floats]
    seconds: float

    def mean(self, design: str) -> Floats:
        """Mean gap at every number of labels."""
        return np.asarray(self.gaps[design].mean(axis=0))

    def error(self, design: str) -> Floats:
        """Standard error of the mean gap."""
        values = self.gaps[design]
        return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(len(values)))

    def difference(self, worse: str, better: str) -> tuple[Floats, Floats]:
        """Mean paired difference of gaps and its z-score, at every number of labels."""
        values = self.gaps[worse] - self.gaps[better]
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        return values.mean(axis=0), values.mean(axis=0) / np.maximum(error, 1e-300)

    def multiple(self, budget_index: int) -> float:
        """Labels uniform needs, per label of the plug-in, for the plug-in's gap; inf where no number tried does."""
        wanted = self.mean("plug_in")[budget_index]
        uniform = np.minimum.accumulate(self.mean("uniform"))
        n = np.array(self.settings.labels, dtype=float)
        if uniform[-1] > wanted:
            return float("inf")
        needed = np.exp(np.interp(-np.log(wanted), -np.log(uniform), np.log(n)))
        return float(needed / n[budget_index])

    def sentences(self) -> list[str]:
        """The ordering in words, with its statistical margin, where it holds and where it does not."""
        n = self.settings.labels
        _, against_uniform = self.difference("uniform", "plug_in")
        _, against_reference = self.difference("reference_weighted", "uniform")
        apart, z_apart = self.difference("plug_in", "oracle")
        relative = apart / self.mean("oracle")
        ahead = [labels for labels, z in zip(n, against_uniform, strict=True) if z > 3]
        behind = [labels for labels, z in zip(n, against_uniform, strict=True) if z < -3]
        out = [
            f"At {n[-1]:,} labels the gaps are "
            + ", ".join(f"{name.replace('_', ' ')} {self.mean(name)[-1]:.2g}" for name in DESIGNS)
            + f" (means of {self.settings.seeds} seeds).",
            f"The plug-in design is ahead of uniform by more than three standard errors at {_listed(ahead)}"
            + (f", and behind at {_listed(behind)}: too few labels for the asymptotics." if behind else "."),
            f"Plug-in and oracle differ by {relative[-1]:+.0%} at {n[-1]:,} labels (z = {z_apart[-1]:.1f}).",
            f"Reference-weighted is worse than uniform at {n[-1]:,} labels with z = {against_reference[-1]:.1f}.",
        ]
        middle = len(n) // 2
        multiple = self.multiple(middle)
        needs = f"{multiple * n[middle]:,.0f} labels" if np.isfinite(multiple) else f"more than {n[-1]:,} labels"
        return [*out, f"For the plug-in's gap at {n[middle]:,} labels, uniform needs {needs}."]


def _listed(numbers: list[int]) -> str:
    return "no number of labels" if not numbers else "n = " + ", ".join(f"{n:,}" for n in numbers)


def draw_instance(settings: Settings, rng: np.random.Generator) -> Instance:
    """Tabular: phi = unit vectors. Contextual: normal features, reference logits and rewards linear in them."""
    P, K, d = settings.prompts, settings.candidates, settings.dim
    if settings.kind == "tabular":
        phi = np.eye(K)[None]
        logits = rng.normal(0, settings.reference_deviation, (P, K))
        theta = rng.normal(0, settings.reward_deviation, d)
    else:
        phi = rng.standard_normal((P, K, d))
        logits = phi @ rng.normal(0, settings.reference_deviation / np.sqrt(d), d)
        theta = rng.normal(0, settings.reward_deviation / np.sqrt(d), d)
    return Instance(phi, logits - _logsumexp(logits), theta)


def _logsumexp(values: Floats) -> Floats:
    top = values.max(axis=-1, keepdims=True)
    return np.asarray(top + np.log(np.exp(values - top).sum(axis=-1, keepdims=True)))


def policy(instance: Instance, theta: Floats, beta: float) -> Floats:
    """p proportional to pi_0 exp(phi theta / beta). theta: (..., d). Returns (..., P, K)."""
    logits = instance.reference + np.einsum("pkd,...d->...pk", instance.phi, theta) / beta
    return np.asarray(np.exp(logits - _logsumexp(logits)))


def value(instance: Instance, p: Floats, beta: float) -> Floats:
    """J(p) = E_x[E_p r - beta KL(p || pi_0)], prompts alike. p: (..., P, K). Returns (...)."""
    kl = np.sum(p * (np.log(np.maximum(p, 1e-300)) - instance.reference), axis=-1)
    return np.asarray((np.sum(p * instance.rewards, axis=-1) - beta * kl).mean(axis=-1))


def pairs_of(
    settings: Settings, instance: Instance
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Floats]:
    """Prompt, first and second candidate of every pair, (E,), in the solver's order, and z (E, d)."""
    first, second = np.triu_indices(settings.candidates, k=1)
    x = np.repeat(np.arange(settings.prompts), len(first))
    i, j = np.tile(first, settings.prompts), np.tile(second, settings.prompts)
    return x, i, j, instance.phi[x, i] - instance.phi[x, j]


def designs(settings: Settings, instance: Instance) -> dict[str, Floats]:
    """Weights (E,), summing to 1, of the four designs."""
    x, i, j, z = pairs_of(settings, instance)
    p0 = np.exp(instance.reference)
    best = policy(instance, instance.theta, settings.beta)
    margin = z @ instance.theta
    curvature = 4 / ((1 + np.exp(-margin)) * (1 + np.exp(margin)))
    together = p0[x, i] * p0[x, j] / settings.prompts
    return {
        "oracle": optimal(settings, instance, best, curvature),
        "plug_in": optimal(settings, instance, p0, np.ones(len(z))),
        "uniform": np.full(len(z), 1 / len(z)),
        "reference_weighted": together / together.sum(),
    }


def optimal(settings: Settings, instance: Instance, p: Floats, curvature: Floats) -> Floats:
    """argmin tr(M (sum_e w_e s_e z_e z_e' + ridge)^-1) over designs. p: (P, K) of M. curvature: (E,) = s.

    Every pair is a prompt of its own, of the candidates 0 and sqrt(s_e) z_e: a single edge whose information is that of
    the weighted pair.
    """
    import torch

    from curation.design.criteria.trace import make_criterion
    from curation.design.geometry import Geometry
    from curation.design.sets.make import make_feasible
    from curation.design.solvers.newton import newton

    if np.all(curvature == 1):  # the candidates as they are: the same pairs, and less work
        geometry = Geometry(
            instance.phi.reshape(-1, settings.dim), np.arange(settings.prompts + 1) * settings.candidates
        )
    else:
        z = pairs_of(settings, instance)[3] * np.sqrt(curvature)[:, None]
        rows = np.stack([np.zeros_like(z), z], axis=1).reshape(-1, z.shape[1])
        geometry = Geometry(rows, np.arange(len(z) + 1) * 2)
    centred = instance.phi - np.einsum("pk,pkd->pd", p, instance.phi)[:, None]
    fisher = np.einsum("pk,pkd,pke->de", p, centred, centred) / settings.prompts
    criterion = make_criterion(geometry, torch.as_tensor(fisher), ridge=RIDGE)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=float("inf"), spread="free")
    weights = newton(criterion, feasible, tol=1e-4).weights.numpy()
    return np.asarray(weights / weights.sum())


def estimate(z: Floats, wins: Floats, counts: Floats, pull: float) -> Floats:
    """Maximum a posteriori theta (S, d) of logistic regression with ridge `pull`, for S samples at once.

    z: (E, d). wins, counts: (S, E) comparisons the first won, and all. Newton steps from zero until the gradient is
    small; the objective is strictly concave, so the answer is unique.
    """
    theta = np.zeros((len(wins), z.shape[1]))
    outer = np.einsum("ed,ef->edf", z, z).reshape(len(z), -1)
    eye = pull * np.eye(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(theta @ z.T)))
        gradient = (wins - counts * p) @ z - pull * theta
        if np.abs(gradient).max() < 1e-8 * max(1.0, counts.sum(axis=1).max()):
            break
        hessian = ((counts * p * (1 - p)) @ outer).reshape(len(theta), z.shape[1], z.shape[1]) + eye
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        theta = theta + step / np.maximum(1.0, np.linalg.norm(step, axis=1, keepdims=True) / 3.0)
    return theta


def one_seed(settings: Settings, seed: int) -> dict[str, Floats]:
    """Gap of every design at every number of labels (labels,), for one seed: rewards, reference, draws."""
    rng = np.random.default_rng([seed, 2606])
    instance = draw_instance(settings, rng)
    z = pairs_of(settings, instance)[3]
    wins_first = 1 / (1 + np.exp(-(z @ instance.theta)))
    top = float(value(instance, policy(instance, instance.theta, settings.beta), settings.beta))
    steps = np.diff([0, *settings.labels])
    out = {}
    for name, weights in designs(settings, instance).items():
        counts = np.cumsum([rng.multinomial(n, weights) for n in steps], axis=0).astype(float)
        fresh = np.diff(np.concatenate([np.zeros((1, len(z))), counts]), axis=0).astype(np.int64)
        wins = np.cumsum(rng.binomial(fresh, wins_first[None, :]), axis=0).astype(float)
        theta = estimate(z, wins, counts, settings.pull)
        out[name] = top - value(instance, policy(instance, theta, settings.beta), settings.beta)
    return out


def run(settings: Settings, *, progress: Progress | None = None) -> Curves:
    """All seeds, one after another; the same settings give the same figures."""
    if settings.seeds < 2:
        raise CurationError(f"--seeds {settings.seeds} is below 2; standard errors need two seeds or more.")
    if not settings.labels or any(b <= a for a, b in zip((0, *settings.labels), settings.labels, strict=False)):
        raise CurationError(f"labels {settings.labels} do not rise from 1 up; give growing whole numbers.")
    started = time.perf_counter()
    parts = []
    for seed in range(settings.seeds):
        parts.append(one_seed(settings, seed))
        if progress is not None:
            progress(seed + 1, settings.seeds, time.perf_counter() - started)
    gaps = {name: np.array([part[name] for part in parts]) for name in DESIGNS}
    return Curves(settings, gaps, time.perf_counter() - started)


def place(kind: Kind) -> Path:
    """Where the dashboard looks for a result."""
    return workspace() / "experiments" / kind


def write(curves: Curves, folder: Path) -> dict[str, Any]:
    """result.json (every seed's gaps) and table.csv, whole or not at all. Returns the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    told = summary(curves)
    rows = ["labels," + ",".join(f"{name},{name}_error" for name in DESIGNS)]
    for k, n in enumerate(curves.settings.labels):
        rows.append(f"{n}," + ",".join(f"{curves.mean(name)[k]:.6g},{curves.error(name)[k]:.3g}" for name in DESIGNS))
    content = {
        "result.json": json.dumps({**told, "gaps": {k: v.tolist() for k, v in curves.gaps.items()}}) + "\n",
        "table.csv": "\n".join(rows) + "\n",
    }
    for name, text in content.items():
        staging = folder / f".{name}.{os.getpid()}"
        staging.write_text(text, encoding="utf-8")
        staging.replace(folder / name)
    return told


def read(folder: Path) -> Curves | None:
    """A result as `write` left it; None where there is none, or none that can be read."""
    try:
        stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        settings = Settings(**{**stored["settings"], "labels": tuple(stored["settings"]["labels"])})
        return Curves(settings, {k: np.array(v) for k, v in stored["gaps"].items()}, float(stored["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def summary(curves: Curves) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "settings": asdict(curves.settings),
        "seconds": curves.seconds,
        "mean": {name: curves.mean(name).tolist() for name in DESIGNS},
        "error": {name: curves.error(name).tolist() for name in DESIGNS},
        "sentences": curves.sentences(),
    }


def run_job(options: dict[str, Any], out: str, progress: Any) -> str:
    """The worker of the Evidence page. options: kind, seeds."""
    from dataclasses import replace

    settings = replace(TABULAR if options["kind"] == "tabular" else CONTEXTUAL, seeds=int(options["seeds"]))
    told = write(run(settings, progress=progress), Path(out))
    return str(told["sentences"][1])
