"""Policy experiment on dialogues with known preferences (HGM section 6): do fewer, chosen labels win as often?

SFT on the pool's own answers, curation of part of the pairs, full-parameter DPO, generation on held-out prompts at
several temperatures, and a judge who says which of two policies answered better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.backtest.arena import make_arena, pair_ends
from curation.experiments.curate import choose, features_of, make_pool
from curation.experiments.generate import generate
from curation.experiments.judge import Judge, ScorerJudge, win_rate
from curation.experiments.rewards import fit_preference
from curation.experiments.stages import Stages, key_of, load_json, save_json
from curation.experiments.training import (
    PLAIN,
    PolicyError,
    SmallModel,
    Training,
    load_model,
    run_dpo,
    sft_stage,
)
from curation.pool.schema import PoolFile
from curation.setting_rules import ABSOLUTE_RIDGE
from curation.settings import DesignSettings, SpaceSettings

Told = Callable[[int, int, float, str], None]


@dataclass(frozen=True)
class HhSettings:
    """The published configuration by default; `small` downloads nothing. prompts: 0 is all of the pool's.

    shares: labels as a share of the prompts curated. judged: share of the prompts kept for the judge's own reward
    model, unheard of in training. max_prompt: words of a prompt, its last ones.
    """

    model: str = "EleutherAI/pythia-2.8b"
    prompts: int = 0
    judged: float = 0.3
    eval_prompts: int = 256
    max_prompt: int = 256
    max_response: int = 128
    shares: tuple[float, ...] = (0.5, 0.6)
    rules: tuple[str, ...] = ("trace", "uniform", "farthest")
    beta: float = 0.1
    temperatures: tuple[float, ...] = (0.25, 0.7, 1.0)
    new_tokens: int = 128
    seeds: tuple[int, ...] = (0,)
    sft: Training = field(default_factory=lambda: Training(1, 1e-5, 16, max_tokens=512))
    dpo: Training = field(default_factory=lambda: Training(1, 1e-6, 16, optimizer="rmsprop", max_tokens=512))
    space: SpaceSettings = field(default_factory=lambda: SpaceSettings(dim=128))
    ridge: float = ABSOLUTE_RIDGE
    small: SmallModel | None = None
    seed: int = 0


def real_settings(model: str) -> HhSettings:
    """Hours on a CPU with a model of a hundred million weights: adapters, short answers, one seed."""
    return HhSettings(
        model=model, prompts=500, eval_prompts=80, max_prompt=60, max_response=40, new_tokens=32,
        temperatures=(0.7, 1.0), shares=(0.5,),
        sft=Training(1, 2e-4, 16, max_tokens=192, rank=16, autocast=True),
        dpo=Training(2, 2e-4, 12, max_tokens=192, rank=16, autocast=True),
    )  # fmt: skip


def small_settings() -> HhSettings:
    """Minutes on a CPU: a tiny GPT-2 trained on the pool's own answers, a reward model fitted on pairs kept aside."""
    return HhSettings(
        model="", prompts=800, eval_prompts=120, max_prompt=40, max_response=30, new_tokens=24, seeds=(0, 1),
        small=SmallModel(context=256), sft=Training(4, 2e-3, 32, max_tokens=192),
        dpo=Training(3, 1e-4, 24, optimizer="rmsprop", max_tokens=192),
    )  # fmt: skip


def test_settings() -> HhSettings:
    """Under a minute: for the test suite."""
    return replace(
        small_settings(), prompts=240, eval_prompts=24, max_prompt=16, max_response=12, new_tokens=8, seeds=(0,),
        temperatures=(0.7, 1.0), rules=("trace", "uniform"), shares=(0.5,),
        small=SmallModel(vocabulary=600, width=48, layers=1, context=128), sft=Training(1, 3e-3, 32, max_tokens=96),
        dpo=Training(1, 1e-3, 16, optimizer="rmsprop", max_tokens=96),
    )  # fmt: skip


@dataclass(frozen=True)
class Dialogues:
    """A pool as plain dialogue. texts: candidates of each prompt, a space first. ends, chance: pairs (prompt, i, j)
    that may be labelled and the chance that i wins."""

    prompts: list[str]
    texts: list[list[str]]
    ends: np.ndarray
    chance: np.ndarray


def dialogues(pool_file: PoolFile, settings: HhSettings) -> Dialogues:
    """The part of a pool whose outcomes are known, shortened, shuffled. Raises where too little is known."""
    arena = make_arena(pool_file.pool, pool_file.truth, [])
    order = np.random.default_rng(settings.seed).permutation(arena.prompts)
    if settings.prompts:
        order = order[: settings.prompts]
    rank = {int(x): n for n, x in enumerate(order)}
    first, second, owner = pair_ends(arena.pool)
    starts = arena.pool.offsets()
    kept = np.array([x in rank for x in owner.tolist()])
    ends = np.stack(
        [np.array([rank.get(x, -1) for x in owner.tolist()]), first - starts[owner], second - starts[owner]], 1
    )
    prompts, texts = [], []
    for x in order.tolist():
        entry = arena.pool.prompts[x]
        turns = [{"role": "user", "content": entry.prompt}] if isinstance(entry.prompt, str) else entry.prompt
        told = "".join(
            f"\n\n{'Assistant' if turn['role'] == 'assistant' else 'Human'}: {turn['content']}" for turn in turns
        )
        prompts.append("\n\nHuman: " + _tail(told, settings.max_prompt).removeprefix("\n\nHuman: ") + "\n\nAssistant:")
        texts.append([" " + " ".join(r.text.split()[: settings.max_response]) for r in entry.responses])
    return Dialogues(prompts, texts, ends[kept], arena.probability[kept])


def _tail(text: str, words: int) -> str:
    parts = text.split(" ")
    return text if len(parts) <= words else " ".join(parts[-words:])


def run_hh(
    pool_file: PoolFile,
    settings: HhSettings,
    out: Path,
    *,
    judge: Judge | None = None,
    judge_name: str = "local reward model",
    device: str = "cpu",
    told: Told | None = None,
) -> dict[str, Any]:
    """Every stage, or what is left of it; result.json in `out` is rewritten after each policy. Returns its content."""
    started = time.perf_counter()
    runs = [(share, rule, seed) for share in settings.shares for rule in settings.rules for seed in settings.seeds]
    total, done = 3 + len(runs), 0

    def step(note: str) -> None:
        if told is not None:
            told(done, total, time.perf_counter() - started, note)

    stages = Stages(out, step)
    data = dialogues(pool_file, settings)
    count = len(data.prompts)
    aside = round(settings.judged * count)
    if count - aside - settings.eval_prompts < 40:
        raise PolicyError(f"{count} prompts with known outcomes are too few for this scale; give a larger --pool.")
    # the first prompts are the judge's, the last are held out, the rest are curated
    curated = range(aside, count - settings.eval_prompts)
    plain = {k: v for k, v in asdict(settings).items() if k not in ("shares", "rules", "seeds", "dpo", "temperatures")}
    plain["layout"] = 2  # features are read on the text that is trained on
    base = {**plain, "data": key_of([data.prompts, data.texts, data.ends.tolist(), data.chance.tolist()])}
    texts = [data.prompts[x] + t for x in curated for t in data.texts[x]]
    sft = sft_stage(
        stages, base, texts, settings.sft, model=settings.model, small=settings.small, template=PLAIN,
        seed=settings.seed, device=device,
    )  # fmt: skip
    done += 1
    accuracy = float("nan")
    if judge is None:
        scorer = _reward_model(data, aside, settings.seed)
        judge, accuracy = ScorerJudge(scorer), scorer.accuracy
    done += 1
    pool = make_pool([data.prompts[x] for x in curated], [data.texts[x] for x in curated], name="dialogues")
    inside = (data.ends[:, 0] >= curated.start) & (data.ends[:, 0] < curated.stop)
    ends, chance = data.ends[inside] - [curated.start, 0, 0], data.chance[inside]
    pool = _with_pairs(pool, ends)
    made = stages.run(
        "features", [base, pool.fingerprint],
        lambda folder: features_of(pool, sft, device=device, out=folder / "features.parquet"),  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    from curation.representation.features_file import read_features

    table = read_features(made / "features.parquet", pool.ids())
    held = data.prompts[count - settings.eval_prompts :]
    model, tokenizer = load_model(sft, device=device, template=PLAIN)
    answers = {
        "reference": _answers_stage(
            stages, "reference", [base, settings.temperatures], settings, model, tokenizer, held
        )
    }
    done += 1
    points: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "kind": "hh", "settings": asdict(settings), "device": device, "judge": judge_name, "judge_accuracy": accuracy,
        "points": points, "pool": pool_file.pool.name, "curated": len(curated),
    }  # fmt: skip
    for share, rule, seed in runs:
        name = f"{round(100 * share)}-{rule}-seed{seed}"
        step(name)
        asked = DesignSettings(
            budget=max(1, round(share * len(curated))), ridge=settings.ridge, ridge_kind="absolute", tol=1e-3
        )
        chosen = choose(pool, table, rule, space=settings.space, settings=asked, seed=seed)
        rows = _rows(data, curated.start, ends, chance, chosen, seed)
        depends = [base, asdict(settings.dpo), settings.temperatures, rows, seed]
        kept = stages.unfinished(name, depends)
        folder = stages.run(
            name, depends,
            lambda folder, rows=rows, seed=seed, kept=kept: _policy(  # type: ignore[misc]
                folder, kept, sft, rows, settings, seed, device, held
            ),
        )  # fmt: skip
        answers[name] = load_json(folder / "answers.json")
        done += 1
    for share, rule, seed in runs:
        mine = answers[f"{round(100 * share)}-{rule}-seed{seed}"]
        rivals = {"reference": answers["reference"]}
        if rule != "uniform" and "uniform" in settings.rules:
            rivals["uniform"] = answers[f"{round(100 * share)}-uniform-seed{seed}"]
        for against, theirs in rivals.items():
            for temperature in map(str, settings.temperatures):
                matches = list(zip(held, mine[temperature], theirs[temperature], strict=True))
                won, error = win_rate(judge(matches))
                points.append(
                    {"share": share, "rule": rule, "seed": seed, "temperature": float(temperature), "against": against,
                     "win_rate": won, "error": error, "matches": len(matches)}
                )  # fmt: skip
    result["seconds"] = time.perf_counter() - started
    result["sentences"] = sentences(result)
    save_json(out / "result.json", result)
    return result


def pooled(
    result: dict[str, Any], share: float, rule: str, temperature: float, against: str
) -> tuple[float, float] | None:
    """Win rate over seeds with its standard error, None where it was not judged."""
    found = [
        p for p in result["points"]
        if (p["share"], p["rule"], p["temperature"], p["against"]) == (share, rule, temperature, against)
    ]  # fmt: skip
    if not found:
        return None
    error = float(np.sqrt(np.mean([p["error"] ** 2 for p in found]) / len(found)))
    return float(np.mean([p["win_rate"] for p in found])), error


def sentences(result: dict[str, Any]) -> list[str]:
    """What the win rates say of the design against uniform."""
    out = []
    for share in result["settings"]["shares"]:
        for temperature in result["settings"]["temperatures"]:
            got = pooled(result, share, "trace", temperature, "uniform")
            if got is None:
                continue
            won, error = got
            apart = abs(won - 0.5) > 2 * error
            words = (
                ("more" if won > 0.5 else "less") + " often than not" if apart else "as often as not, within two errors"
            )
            out.append(
                f"{share:.0%} of the labels, temperature {temperature:g}: the design's policy wins against uniform's "
                f"{words} ({won:.1%} ± {error:.1%})."
            )
    return out


def _rows(
    data: Dialogues, start: int, ends: np.ndarray, chance: np.ndarray, chosen: Any, seed: int
) -> list[dict[str, str]]:
    """DPO rows of the pairs bought: the known label where it is certain, else a draw."""
    rng = np.random.default_rng([seed, 3])
    known = {tuple(end): p for end, p in zip(ends.tolist(), chance.tolist(), strict=True)}
    rows = []
    for x, i, j, copies in zip(chosen.prompt, chosen.first, chosen.second, chosen.copies, strict=True):
        for _ in range(int(copies)):
            wins = rng.random() < known[int(x), int(i), int(j)]
            better, worse = (i, j) if wins else (j, i)
            texts = data.texts[start + x]
            if texts[better] != texts[worse]:
                rows.append({"prompt": data.prompts[start + x], "chosen": texts[better], "rejected": texts[worse]})
    return rows


def _reward_model(data: Dialogues, aside: int, seed: int) -> Any:
    mine = data.ends[:, 0] < aside
    pairs = list(zip(data.ends[mine].tolist(), data.chance[mine].tolist(), strict=True))
    return fit_preference(
        [data.texts[x][i] for (x, i, _), _ in pairs], [data.texts[x][j] for (x, _, j), _ in pairs], seed=seed,
        chance=[p for _, p in pairs],
    )  # fmt: skip


def _with_pairs(pool: Any, ends: np.ndarray) -> Any:
    """The pool, restricted to pairs whose outcome is known."""
    by: dict[int, list[tuple[int, int]]] = {}
    for x, i, j in ends.tolist():
        by.setdefault(x, []).append((i, j))
    return replace(pool, prompts=tuple(replace(p, pairs=tuple(sorted(by[x]))) for x, p in enumerate(pool.prompts)))


def _policy(
    folder: Path,
    kept: Path,
    sft: Path,
    rows: list[dict[str, str]],
    settings: HhSettings,
    seed: int,
    device: str,
    held: list[str],
) -> None:
    model, tokenizer = run_dpo(
        sft, rows, settings.dpo, beta=settings.beta, template=PLAIN, seed=seed, device=device, out=folder, kept=kept
    )
    save_json(folder / "answers.json", _answers(settings, model, tokenizer, held))


def _answers_stage(
    stages: Stages, name: str, depends: Any, settings: HhSettings, model: Any, tokenizer: Any, held: list[str]
) -> Any:
    folder = stages.run(
        name, depends, lambda folder: save_json(folder / "answers.json", _answers(settings, model, tokenizer, held))
    )
    return load_json(folder / "answers.json")


def _answers(settings: HhSettings, model: Any, tokenizer: Any, held: list[str]) -> dict[str, list[str]]:
    """One answer to every held-out prompt at every temperature; the same seed for every policy."""
    return {
        str(t): [
            group[0]
            for group in generate(
                model, tokenizer, held, count=1, temperature=t, max_tokens=settings.new_tokens, seed=settings.seed + 1
            ).texts
        ]
        for t in settings.temperatures
    }
