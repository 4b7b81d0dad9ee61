"""Policy experiment on movie reviews (HGM section 6): does the trace design move the reward-KL frontier?

SFT reference, candidates from it, curation by prompt selection and by response selection, a classifier's reward,
Bradley-Terry labels, full-parameter DPO at several beta, frontier of reward against sequence-level KL.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.experiments.curate import choose, features_of, make_pool
from curation.experiments.generate import generate, sequence_kl
from curation.experiments.rewards import fit_sentiment, hub_sentiment
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
from curation.insight.clustered import clustered_means
from curation.pool.files.lines import read_rows
from curation.settings import DesignSettings, SpaceSettings

Told = Callable[[int, int, float, str], None]


@dataclass(frozen=True)
class ImdbSettings:
    """The published configuration by default; `small` downloads nothing. prefix: words of a review that are the prompt.

    selected: labels of prompt selection, which takes two candidates a prompt; response selection buys one pair of
    every prompt. small: the model made where no hub name is given.
    """

    data: str = "stanfordnlp/imdb"
    model: str = "gpt2-large"
    classifier: str = "siebert/sentiment-roberta-large-english"
    prompts: int = 1000
    candidates: int = 8
    selected: int = 175
    eval_prompts: int = 512
    eval_samples: int = 4
    prefix: int = 6
    new_tokens: int = 48
    betas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    prompt_rules: tuple[str, ...] = ("trace", "uniform", "d_optimal")
    response_rules: tuple[str, ...] = ("trace", "paper", "uniform", "farthest", "reference_weighted")
    sft: Training = field(default_factory=lambda: Training(1, 1e-5, 16, max_tokens=256))
    dpo: Training = field(default_factory=lambda: Training(3, 1e-6, 16, optimizer="rmsprop", max_tokens=256))
    space: SpaceSettings = field(default_factory=SpaceSettings)
    small: SmallModel | None = None
    seed: int = 0


def small_settings(data: str) -> ImdbSettings:
    """Minutes on a CPU: a tiny GPT-2 trained on half of --data, a classifier fitted on the other half."""
    return ImdbSettings(
        data=data, model="", classifier="", prompts=300, selected=60, eval_prompts=150, eval_samples=4, new_tokens=16,
        betas=(0.05, 0.2, 1.0), seeds=(0, 1, 2), prompt_rules=("trace", "uniform"),
        response_rules=("trace", "uniform", "farthest"), small=SmallModel(context=96),
        sft=Training(4, 2e-3, 64, max_tokens=96), dpo=Training(4, 1e-4, 24, optimizer="rmsprop", max_tokens=96),
    )  # fmt: skip


def test_settings(data: str) -> ImdbSettings:
    """Under a minute: for the test suite."""
    return replace(
        small_settings(data), prompts=60, selected=20, eval_prompts=24, eval_samples=2, new_tokens=8, betas=(0.1,),
        seeds=(0,), candidates=4, response_rules=("trace", "uniform"),
        small=SmallModel(vocabulary=600, width=48, layers=1, context=64), sft=Training(1, 3e-3, 64, max_tokens=64),
        dpo=Training(2, 1e-3, 16, optimizer="rmsprop", max_tokens=64),
    )  # fmt: skip


def run_imdb(settings: ImdbSettings, out: Path, *, device: str = "cpu", told: Told | None = None) -> dict[str, Any]:
    """Every stage, or what is left of it; result.json in `out` is rewritten after each policy. Returns its content."""
    started = time.perf_counter()
    runs = [("prompt", rule) for rule in settings.prompt_rules] + [("response", r) for r in settings.response_rules]
    total = 4 + len(runs) * len(settings.betas) * len(settings.seeds)
    done = 0

    def step(note: str) -> None:
        if told is not None:
            told(done, total, time.perf_counter() - started, note)

    stages = Stages(out, step)
    base = {
        k: v
        for k, v in asdict(settings).items()
        if k not in ("betas", "seeds", "prompt_rules", "response_rules", "dpo")
    }
    texts, labels = read_reviews(settings.data)
    base["texts"] = key_of([texts, labels])
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    aside = settings.prompts + settings.eval_prompts
    if len(texts) < aside + 400:
        raise PolicyError(f"{settings.data} has {len(texts):,} reviews; this scale needs {aside + 400:,}.")
    held, rest = order[:aside], order[aside:]
    for_sft, for_reward = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    prompts = [" ".join(texts[k].split()[: settings.prefix]) for k in held]
    sft = sft_stage(
        stages, base, [texts[k] for k in for_sft], settings.sft, model=settings.model, small=settings.small,
        template=PLAIN, seed=settings.seed, device=device,
    )  # fmt: skip
    done += 1
    step("reward")
    if settings.classifier:
        score: Any = hub_sentiment(settings.classifier, device=device)
    else:
        score = fit_sentiment([texts[k] for k in for_reward], [labels[k] for k in for_reward], seed=settings.seed)
    done += 1

    def candidates(folder: Path) -> None:
        model, tokenizer = load_model(sft, device=device, template=PLAIN)
        made = generate(
            model, tokenizer, prompts[: settings.prompts], count=settings.candidates, temperature=1.0,
            max_tokens=settings.new_tokens, seed=settings.seed,
        )  # fmt: skip
        rewards = [score([p + t for t in texts]).tolist() for p, texts in zip(prompts, made.texts, strict=False)]
        save_json(folder / "candidates.json", {"texts": made.texts, "rewards": rewards})

    pool_folder = stages.run("candidates", base, candidates)
    kept = load_json(pool_folder / "candidates.json")
    done += 1
    pools = {
        "prompt": make_pool(prompts[: settings.prompts], [t[:2] for t in kept["texts"]], name="imdb"),
        "response": make_pool(prompts[: settings.prompts], kept["texts"], name="imdb"),
    }
    tables = {}
    for kind, pool in pools.items():
        made = stages.run(
            f"features-{kind}", [base, pool.fingerprint],
            lambda folder, pool=pool: features_of(pool, sft, device=device, out=folder / "features.parquet"),  # type: ignore[arg-type,misc]
        )  # fmt: skip
        from curation.representation.features_file import read_features

        tables[kind] = read_features(made / "features.parquet", pool.ids())
    done += 1
    reference, tokenizer = load_model(sft, device=device, template=PLAIN)
    test = prompts[settings.prompts :]
    points: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "kind": "imdb", "settings": asdict(settings), "device": device, "classifier_accuracy": score.accuracy,
        "points": points,
    }  # fmt: skip

    def base_line(folder: Path) -> None:
        made = generate(
            reference, tokenizer, test, count=settings.eval_samples, temperature=1.0, max_tokens=settings.new_tokens,
            seed=settings.seed + 1,
        )  # fmt: skip
        rewards = _rewards(score, test, made.texts)
        save_json(folder / "point.json", {"reward": rewards.mean(), "reward_error": _error(rewards)})

    result["reference"] = load_json(stages.run("reference", base, base_line) / "point.json")
    rewards = np.array(kept["rewards"])
    for kind, rule in runs:
        n = settings.selected if kind == "prompt" else settings.prompts
        asked = DesignSettings(budget=n, spread="capped" if kind == "prompt" else "balanced", tol=1e-3)
        for seed in settings.seeds:
            chosen = choose(pools[kind], tables[kind], rule, space=settings.space, settings=asked, seed=seed)
            rows = preference_rows(prompts, kept["texts"], rewards, chosen, seed=seed)
            for beta in settings.betas:
                name = f"{kind}-{rule}-beta{beta:g}-seed{seed}"

                def policy(folder: Path, rows=rows, beta=beta, seed=seed) -> None:  # type: ignore[no-untyped-def]
                    model, _ = run_dpo(
                        sft, rows, settings.dpo, beta=beta, template=PLAIN, seed=seed, device=device, out=folder
                    )
                    made = generate(
                        model, tokenizer, test, count=settings.eval_samples, temperature=1.0,
                        max_tokens=settings.new_tokens, seed=settings.seed + 1,
                    )  # fmt: skip
                    got = _rewards(score, test, made.texts)
                    kl = sequence_kl(model, reference, tokenizer, test, made, max_tokens=settings.new_tokens)
                    save_json(
                        folder / "point.json",
                        {"reward": got.mean(), "reward_error": _error(got), "kl": kl.mean(), "kl_error": _error(kl),
                         "labels": len(rows), "by_prompt": got.tolist()},
                    )  # fmt: skip

                folder = stages.run(name, [base, asdict(settings.dpo), rows, beta, seed], policy)
                done += 1
                step(name)
                points.append(
                    {"curation": kind, "rule": rule, "beta": beta, "seed": seed, **load_json(folder / "point.json")}
                )
                result["seconds"] = time.perf_counter() - started
                save_json(out / "result.json", result)
    result["sentences"] = sentences(result)
    save_json(out / "result.json", result)
    return result


def read_reviews(data: str) -> tuple[list[str], list[int]]:
    """Texts and labels (1 positive) of a JSON Lines file (.gz), or of a hub dataset's train split."""
    path = Path(data)
    if path.suffix in (".gz", ".jsonl") or path.exists():
        found = list(read_rows(path))
        broken = next((row for row in found if row.error is not None), None)
        if broken is not None:
            raise PolicyError(f"{path}, line {broken.line}: {broken.error}; mend it, or leave it out.")
        rows = [row.data for row in found]
    else:
        import datasets  # type: ignore[import-untyped]

        try:
            rows = list(datasets.load_dataset(data, split="train"))
        except Exception as error:  # the hub raises many kinds
            raise PolicyError(
                f"dataset {data} cannot be loaded ({type(error).__name__}); check the network, or give --data FILE "
                "with `text` and `label` in every row."
            ) from None
    if not rows or not all("text" in row and row.get("label") in (0, 1) for row in rows):
        raise PolicyError(f"{data}: every row needs `text` and `label` 0 or 1.")
    return [str(row["text"]) for row in rows], [int(row["label"]) for row in rows]


def preference_rows(
    prompts: list[str], texts: list[list[str]], rewards: np.ndarray, chosen: Any, *, seed: int
) -> list[dict[str, str]]:
    """DPO rows of the pairs bought: Bradley-Terry draws on the rewards. A pair of equal texts gives none."""
    rng = np.random.default_rng([seed, 3])
    rows = []
    for x, i, j, copies in zip(chosen.prompt, chosen.first, chosen.second, chosen.copies, strict=True):
        for _ in range(int(copies)):
            wins = rng.random() < 1 / (1 + np.exp(-(rewards[x, i] - rewards[x, j])))
            better, worse = (i, j) if wins else (j, i)
            if texts[x][better] != texts[x][worse]:
                rows.append({"prompt": prompts[x], "chosen": texts[x][better], "rejected": texts[x][worse]})
    return rows


def sentences(result: dict[str, Any]) -> list[str]:
    """What the frontier says: at each beta the design's reward and KL beside uniform's, over seeds."""
    out = []
    for kind in ("prompt", "response"):
        for beta in result["settings"]["betas"]:
            both = {
                rule: [p for p in result["points"] if (p["curation"], p["rule"], p["beta"]) == (kind, rule, beta)]
                for rule in ("trace", "uniform")
            }
            if not all(both.values()):
                continue
            gap = np.array([a["by_prompt"] for a in both["trace"]]) - [b["by_prompt"] for b in both["uniform"]]
            lead, error = _lead(gap)
            kl = {rule: np.mean([p["kl"] for p in points]) for rule, points in both.items()}
            sure = "within" if abs(lead) < 2 * error else "outside"
            out.append(
                f"{kind.capitalize()} selection, beta {beta:g}: trace minus uniform {lead:+.3f} in reward (logits), "
                f"{sure} two standard errors ({error:.3f}, {len(gap)} seed(s)), at {kl['trace']:.2f} and "
                f"{kl['uniform']:.2f} nats."
            )
    return out


def _rewards(score: Any, prompts: list[str], texts: list[list[str]]) -> np.ndarray:
    """Mean reward of each prompt's responses, (prompts,)."""
    flat = score([p + t for p, group in zip(prompts, texts, strict=True) for t in group])
    return np.asarray(flat.reshape(len(prompts), -1).mean(1))


def _lead(gap: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (seeds, prompts) and its standard error, clustered both ways where seeds allow."""
    if len(gap) < 2:
        return float(gap.mean()), _error(gap[0])
    means = clustered_means(gap[:, None, :], np.full(gap.shape[1], 1 / gap.shape[1]))
    two_way = float(means.by_seed[0, 0] + means.by_prompt[0, 0] - means.by_cell[0, 0])
    return float(gap.mean()), float(np.sqrt(max(two_way, float(means.by_seed[0, 0]), float(means.by_prompt[0, 0]))))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
