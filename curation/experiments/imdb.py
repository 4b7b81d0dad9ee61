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
from curation.experiments.forecast import SAMPLING, spoken, tokens_a_second, training_passes
from curation.experiments.generate import Samples, generate, sequence_kl
from curation.experiments.imdb_report import multiples, sentences
from curation.experiments.rewards import fit_sentiment, hub_sentiment, length_free
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
from curation.pool.files.lines import read_rows
from curation.settings import DesignSettings, SpaceSettings

Told = Callable[[int, int, float, str], None]


@dataclass(frozen=True)
class ImdbSettings:
    """The published configuration by default; `small` downloads nothing. prefix: words of a review that are the prompt.

    selected: labels of prompt selection, which takes two candidates a prompt; response selection buys one pair of
    every prompt. uniform_labels: further budgets of uniform response selection, as multiples, for label multiples.
    sft_texts: reviews of the fine-tuning at most, 0 is all. small: the model made where no name is given.
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
    uniform_labels: tuple[float, ...] = ()
    sft_texts: int = 0
    small: SmallModel | None = None
    seed: int = 0


def real_settings(data: str, model: str) -> ImdbSettings:
    """An hour or two on a CPU with a model of a hundred million weights: adapters, response selection, three beta."""
    return ImdbSettings(
        data=data, model=model, classifier="", prompts=80, eval_prompts=40, eval_samples=3, new_tokens=24,
        betas=(0.05, 0.2, 1.0), seeds=(0, 1), prompt_rules=(), response_rules=("trace", "farthest", "uniform"),
        uniform_labels=(2.0,), sft_texts=320,
        sft=Training(1, 2e-4, 16, max_tokens=64, rank=16, autocast=True),
        dpo=Training(3, 2e-4, 12, max_tokens=64, rank=16, autocast=True),
    )  # fmt: skip


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


def run_imdb(
    settings: ImdbSettings,
    out: Path,
    *,
    device: str = "cpu",
    told: Told | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Every stage, or what is left of it; result.json in `out` is rewritten after each policy. Returns its content.

    say: how long all of it takes on this machine, before it starts.
    """
    started = time.perf_counter()
    runs = [("prompt", rule, 1.0) for rule in settings.prompt_rules]
    runs += [("response", rule, 1.0) for rule in settings.response_rules]
    if "uniform" in settings.response_rules:
        runs += [("response", "uniform", share) for share in settings.uniform_labels]
    total = 4 + len(runs) * len(settings.betas) * len(settings.seeds)
    if settings.small is None:
        say(foretold(settings, runs, load_model(settings.model, device=device, template=PLAIN)[0]))
    done = 0

    def step(note: str) -> None:
        if told is not None:
            told(done, total, time.perf_counter() - started, note)

    stages = Stages(out, step)
    base = {
        k: v
        for k, v in asdict(settings).items()
        if k not in ("betas", "seeds", "prompt_rules", "response_rules", "uniform_labels", "dpo")
    }
    texts, labels = read_reviews(settings.data)
    base["texts"] = key_of([texts, labels])
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    aside = settings.prompts + settings.eval_prompts
    if len(texts) < aside + 400:
        raise PolicyError(f"{settings.data} has {len(texts):,} reviews; this scale needs {aside + 400:,}.")
    held, rest = order[:aside], order[aside:]
    for_sft, for_reward = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    for_sft = for_sft[: settings.sft_texts or None]
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
    fair = length_free(score, [texts[k] for k in for_reward])
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
        save_json(folder / "point.json", _earned(score, fair, test, made))

    result["reference"] = load_json(stages.run("reference", [base, 2], base_line) / "point.json")
    rewards = np.array(kept["rewards"])
    for kind, rule, share in runs:
        n = settings.selected if kind == "prompt" else round(share * settings.prompts)
        asked = DesignSettings(budget=n, spread="capped" if kind == "prompt" else "balanced", tol=1e-3)
        for seed in settings.seeds:
            chosen = choose(pools[kind], tables[kind], rule, space=settings.space, settings=asked, seed=seed)
            rows = preference_rows(prompts, kept["texts"], rewards, chosen, seed=seed)
            for beta in settings.betas:
                name = f"{kind}-{rule}{'' if share == 1 else f'-{n}'}-beta{beta:g}-seed{seed}"
                depends = [base, asdict(settings.dpo), rows, beta, seed, 2]
                unfinished = stages.unfinished(name, depends)

                def policy(folder: Path, rows=rows, beta=beta, seed=seed, unfinished=unfinished) -> None:  # type: ignore[no-untyped-def]
                    model, _ = run_dpo(
                        sft, rows, settings.dpo, beta=beta, template=PLAIN, seed=seed, device=device, out=folder,
                        kept=unfinished,
                    )  # fmt: skip
                    made = generate(
                        model, tokenizer, test, count=settings.eval_samples, temperature=1.0,
                        max_tokens=settings.new_tokens, seed=settings.seed + 1,
                    )  # fmt: skip
                    kl = sequence_kl(model, reference, tokenizer, test, made, max_tokens=settings.new_tokens)
                    save_json(
                        folder / "point.json",
                        {**_earned(score, fair, test, made), "kl": kl.mean(), "kl_error": _error(kl),
                         "labels": len(rows)},
                    )  # fmt: skip

                folder = stages.run(name, depends, policy)
                done += 1
                step(name)
                points.append(
                    {"curation": kind, "rule": rule, "beta": beta, "seed": seed, "share": share,
                     **load_json(folder / "point.json")}
                )  # fmt: skip
                result["seconds"] = time.perf_counter() - started
                save_json(out / "result.json", result)
    result["multiples"] = multiples(result)
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


def foretold(settings: ImdbSettings, runs: list[tuple[str, str, float]], model: Any) -> str:
    """How long all stages take with a model on this machine, in a sentence."""
    length = settings.new_tokens + 2 * settings.prefix  # a word is two tokens at most, nearly always
    sampled = settings.prompts * settings.candidates + settings.eval_prompts * settings.eval_samples
    work = training_passes(settings.sft_texts or 2000, settings.sft.max_tokens, settings.sft, preferences=False)
    work += sampled * settings.new_tokens * SAMPLING + settings.prompts * settings.candidates * length
    for kind, _, share in runs:
        rows = settings.selected if kind == "prompt" else round(share * settings.prompts)
        each = training_passes(rows, length, settings.dpo, preferences=True)
        each += settings.eval_prompts * settings.eval_samples * (settings.new_tokens * SAMPLING + 2 * length)
        work += each * len(settings.betas) * len(settings.seeds)
    speed = tokens_a_second(model)
    return f"about {spoken(work / speed)} on this machine, which reads {speed:,.0f} tokens a second with this model"


def _earned(score: Any, fair: Any, prompts: list[str], made: Samples) -> dict[str, Any]:
    """What samples are worth, prompt by prompt, with length's part and without, and how long they are, in tokens."""
    got, free = _rewards(score, prompts, made.texts), _rewards(fair, prompts, made.texts)
    lengths = np.array([np.mean([len(row) for row in rows]) for rows in made.tokens])
    return {
        "reward": got.mean(), "reward_error": _error(got), "by_prompt": got.tolist(), "length_free": free.mean(),
        "length_free_error": _error(free), "length_free_by_prompt": free.tolist(), "tokens": lengths.mean(),
    }  # fmt: skip


def _rewards(score: Any, prompts: list[str], texts: list[list[str]]) -> np.ndarray:
    """Mean reward of each prompt's responses, (prompts,)."""
    flat = score([p + t for p, group in zip(prompts, texts, strict=True) for t in group])
    return np.asarray(flat.reshape(len(prompts), -1).mean(1))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
