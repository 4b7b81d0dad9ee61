"""DPO of a real model on answers that exist already: which rule's labels teach it most?

The answers are other models', their quality is known. A model reads them once; every rule buys n labels on half of the
prompts from its hidden states, adapters on its upper layers are trained on them by DPO, and the answers of held-out
prompts say what the policy has learnt. No answer is sampled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.backtest.arena import Arena, Half, half_of, make_arena
from curation.backtest.policy_value import default_kl, pair_accuracy, reward_at_kl
from curation.backtest.split import Known, generator_strength
from curation.experiments.adapters import AdapterTraining, implicit_rewards, train
from curation.experiments.answers_report import report
from curation.experiments.curate import buy
from curation.experiments.forecast import spoken
from curation.experiments.stages import Stages, load_json, save_json
from curation.experiments.training import PolicyError
from curation.experiments.upper import Halves, Read, load_read, tokens_of
from curation.pool.messages import plain_messages
from curation.pool.schema import PoolFile, Prompt
from curation.representation.features_file import read_features, write_features
from curation.representation.layout import Layout
from curation.representation.models import ModelDtype
from curation.settings import DesignSettings, SpaceSettings, workspace

Array = NDArray[np.float64]
MATCHED = 0.2  # answers whose lengths differ by less than this, in log characters, are of one length


@dataclass(frozen=True)
class AnswersSettings:
    """What to run. answers: of each prompt at most, taken at random; 0 is all. tokens: of an answer, its first ones.

    layers: of the model that are trained, its last ones. judged: held-out prompts a split, with `shown` answers each.
    temperature: of the labels drawn on the known quality; None as in a backtest. dtype: of the frozen weights; the
    adapters are float32.
    """

    model: str
    rules: tuple[str, ...] = ("trace", "farthest", "uniform")
    budgets: tuple[int, ...] = (40, 120)
    seeds: tuple[int, ...] = (0, 1, 2)
    answers: int = 10
    tokens: int = 128
    layers: int = 4
    judged: int = 70
    shown: int = 5
    temperature: float | None = None
    dtype: ModelDtype = "float32"
    pooling: str = "last"
    training: AdapterTraining = field(default_factory=AdapterTraining)
    space: SpaceSettings = field(default_factory=SpaceSettings)
    design: DesignSettings = field(default_factory=lambda: DesignSettings(budget=1))  # but for its budget
    seed: int = 0


def place(pool: str) -> Path:
    """Where the dashboard looks for a result on a pool of this name."""
    return workspace() / "experiments" / f"answers-{pool}"


def run_answers(
    pool_file: PoolFile,
    settings: AnswersSettings,
    out: Path,
    *,
    device: str = "cpu",
    told: Callable[[int, int, float, str], None] = lambda done, total, seconds, note: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Every stage, or what is left of it; result.json in `out` is rewritten after each policy. Returns its content.

    say: how long it will take, once that can be told. Raises PolicyError where it cannot be run as asked.
    """
    started = time.perf_counter()
    arena = _arena(pool_file, settings)
    halves = Halves(settings.model, layers=settings.layers, device=device, dtype=settings.dtype)
    stages = Stages(out)
    runs = [(seed, n, rule) for seed in settings.seeds for n in settings.budgets for rule in settings.rules]
    base = {
        "reading": [halves.revision, settings.layers, settings.tokens, settings.dtype, settings.seed],
        "answers": arena.pool.fingerprint,
    }
    read = _read(stages, base, arena, halves, settings, say)
    arena = _with_features(stages, base, arena, read, settings)
    splits = {seed: _split(arena, settings, seed) for seed in settings.seeds}
    points: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "kind": "answers", "pool": pool_file.pool.name, "settings": asdict(settings), "device": device,
        "unit": arena.unit, "prompts": arena.prompts, "answers": arena.pool.n_responses, "points": points,
        "weights": arena.pool.prompt_weights().tolist(),
    }  # fmt: skip
    spent: list[float] = []
    for done, (seed, n, rule) in enumerate(runs):
        train_half, test, rows = splits[seed]
        pairs = _labelled(arena, train_half, rule, n, seed, settings)
        name = f"{rule}-{n}-seed{seed}"
        depends = [base, asdict(settings.training), settings.pooling, pairs, rows.tolist(), seed]
        kept = stages.unfinished(name, depends)

        def policy(
            folder: Path, pairs: Any = pairs, seed: int = seed, test: Half = test, rows: Any = rows, kept: Path = kept
        ) -> None:
            begun = time.perf_counter()
            model, losses = train(halves, read, pairs, settings.training, seed=seed, folder=kept)
            moved = implicit_rewards(halves, read, model, rows.tolist())
            save_json(folder / "point.json", {
                **judged(test, moved), "labels": len(pairs), "losses": losses, "seconds": time.perf_counter() - begun,
            })  # fmt: skip

        fresh = len(stages.made)
        folder = stages.run(name, depends, policy)
        point = load_json(folder / "point.json")
        points.append({"rule": rule, "budget": n, "seed": seed, "prompts": test.prompts.tolist(), **point})
        if len(stages.made) > fresh:
            spent.append(point["seconds"] / (n * settings.training.epochs + 2))
            left = float(np.mean(spent)) * sum(m * settings.training.epochs + 2 for _, m, _ in runs[done + 1 :])
            if len(spent) == 1:
                say(f"the {len(runs) - done - 1} policies that are left take about {spoken(left)} on this machine")
        told(done + 1, len(runs), time.perf_counter() - started, name)
        result["seconds"] = time.perf_counter() - started
        save_json(out / "result.json", {**result, **report(result)} if done + 1 == len(runs) else result)
    return load_json(out / "result.json")  # type: ignore[no-any-return]


def judged(test: Half, moved: Array) -> dict[str, Any]:
    """What a policy's implicit rewards (N,) of a held-out half's answers are worth, prompt by prompt.

    accuracy: of pairs with a known better answer. matched: of those of about one length. reward: of the policy that
    weighs answers by the implicit reward, at equal KL, over the reference's. kl: nats between the policy and its
    reference over the answers shown, as trained.
    """
    size = len(test.prompts)
    gap = (moved[test.first] - moved[test.second])[None]
    lengths = np.log1p(test.pool.lengths())
    near = np.abs(lengths[test.first] - lengths[test.second]) < MATCHED
    groups = test.groups()
    shown = test.group_rows()
    earned, _ = reward_at_kl(moved[shown][None], groups, default_kl(groups))
    offsets = groups.offsets
    mean = np.add.reduceat(groups.reward, offsets[:-1]) / np.diff(offsets)
    return {
        "accuracy": _listed(pair_accuracy(gap, test.probability, test.owner, size)[0]),
        "matched": _listed(pair_accuracy(gap[:, near], test.probability[near], test.owner[near], size)[0]),
        "reward": _listed(earned[0] - mean),
        "kl": float(np.mean([_kl(moved[shown][a:b]) for a, b in pairwise(offsets)])),
        "pairs": int((test.probability != 0.5).sum()),
        "matched_pairs": int(((test.probability != 0.5) & near).sum()),
    }


def _listed(values: Array) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _kl(moved: Array) -> float:
    """KL of p ~ exp(implicit reward) over one prompt's answers to taking them alike, nats."""
    p = np.exp(moved - moved.max())
    p /= p.sum()
    return float((p * np.log(np.clip(p * len(p), 1e-300, None))).sum())


def _arena(pool_file: PoolFile, settings: AnswersSettings) -> Arena:
    """The part of a pool with known quality, at most `answers` of each prompt."""
    if not pool_file.truth.quality:
        raise PolicyError(f"pool {pool_file.pool.name} carries no `quality` of its answers; give one that does.")
    arena = make_arena(pool_file.pool, pool_file.truth, [], temperature=settings.temperature, source="quality")
    if not settings.answers:
        return arena
    keep = _some(arena.pool.offsets(), settings.answers, np.random.default_rng([settings.seed, 7]))
    half = half_of(arena, np.arange(arena.prompts), rows=keep)
    return replace(arena, pool=half.pool, reward=half.reward, probability=half.probability)


def _some(offsets: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool: at most `most` answers of every prompt, at random."""
    keep = np.zeros(int(offsets[-1]), dtype=bool)
    for a, b in pairwise(offsets.tolist()):
        keep[a + rng.permutation(b - a)[:most]] = True
    return keep


def _read(
    stages: Stages, base: Any, arena: Arena, halves: Halves, settings: AnswersSettings, say: Callable[[str], None]
) -> Read:
    prompts = [_turns(prompt) for prompt in arena.pool.prompts]
    texts = [[response.text for response in prompt.responses] for prompt in arena.pool.prompts]

    def make(folder: Path) -> None:
        rows = tokens_of(Layout(halves.tokenizer, max_tokens=None), prompts, texts, settings.tokens)
        begun, last = time.perf_counter(), [0.0]

        def tell(done: int, total: int) -> None:
            now = time.perf_counter() - begun
            if now - last[0] > 60 or (not last[0] and now > 5):
                last[0] = now
                say(f"reading answers: {done:,} of {total:,} tokens, about {spoken(now * (total - done) / done)} left")

        halves.read(rows, folder, told=tell)

    return load_read(stages.run("answers", base, make))


def _turns(prompt: Prompt) -> Any:
    return plain_messages(prompt.prompt) if isinstance(prompt.prompt, list) else prompt.prompt


def _with_features(stages: Stages, base: Any, arena: Arena, read: Read, settings: AnswersSettings) -> Arena:
    """The arena with the model's own hidden states as its features file."""
    ids = arena.pool.ids()
    if settings.pooling not in ("last", "mean"):
        raise PolicyError(f"--pooling {settings.pooling!r} is unknown; use last or mean.")

    def make(folder: Path) -> None:
        write_features(
            folder / "features.parquet", ids, read.last if settings.pooling == "last" else read.mean,
            reference_logprob=read.logprob, n_tokens=(read.lengths - read.start).astype(np.int32),
            metadata={"model": settings.model, "pooling": settings.pooling, "layer": "-1"}, dtype="float32",
        )  # fmt: skip

    folder = stages.run(f"features-{settings.pooling}", [base, settings.pooling], make)
    return replace(arena, tables=(read_features(folder / "features.parquet", ids),))


def _split(arena: Arena, settings: AnswersSettings, seed: int) -> tuple[Half, Half, np.ndarray]:
    """Half of the prompts to buy labels on, some held-out ones to judge on, and the latter's rows in the arena."""
    rng = np.random.default_rng([settings.seed, seed])
    order = rng.permutation(arena.prompts)
    size = round(0.5 * arena.prompts)
    most = min(prompt.n_pairs for prompt in arena.pool.prompts) * size
    if max(settings.budgets) > most:
        raise PolicyError(f"--budgets {max(settings.budgets)} exceeds the {most} pairs of half the prompts; lower it.")
    keep = _some(arena.pool.offsets(), settings.shown, rng)
    test = half_of(arena, order[size : size + settings.judged], rows=keep)
    return half_of(arena, order[:size]), test, test.rows


def _labelled(
    arena: Arena, half: Half, rule: str, n: int, seed: int, settings: AnswersSettings
) -> list[tuple[int, int]]:
    """(winner, loser) rows of the arena for the pairs a rule buys; a pair has the same label whichever rule asks."""
    asked = replace(settings.design, budget=n, seed=seed)
    known = Known(generator_strength(half), [])
    batch = buy(half.pool, half.tables[0], rule, space=settings.space, settings=asked, seed=seed, known=known)
    chance = np.random.default_rng([settings.seed, seed, 1]).random(len(half.probability))
    out = []
    for pair, copies in zip(batch.pairs.tolist(), batch.copies.tolist(), strict=True):
        a, b = int(half.rows[half.first[pair]]), int(half.rows[half.second[pair]])
        winner, loser = (a, b) if chance[pair] < half.probability[pair] else (b, a)
        out += [(winner, loser)] * int(copies)
    return out
