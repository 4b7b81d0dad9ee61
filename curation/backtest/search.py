"""Many variants on known outcomes: the study of what matters, and the search for a representation that serves.

A study compares variants with the default on all prompts and is for looking. A search chooses on one half of the
prompts and tests what it chose on the other, so that its answer is not what it was tuned on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.backtest.arena import Arena, BacktestError, half_of, make_arena
from curation.backtest.report import Report, make_report
from curation.backtest.run import Options, Progress, imported_truth, make_plan, run_plan
from curation.backtest.split import Rule
from curation.design.rules.base import RULES
from curation.pool.schema import PoolFile
from curation.representation.features_file import read_features
from curation.representation.fisher.base import FISHERS
from curation.settings import SpreadKind

REPEATS = 2  # draws of batch and labels a split


@dataclass(frozen=True)
class Study:
    """Variants beside each other. report: of all rules. what: of every rule, in words."""

    report: Report
    what: dict[str, str]

    def lines(self) -> list[str]:
        """A Markdown table, best first."""
        head = " | ".join(f"n = {n:,}" for n in self.report.budgets)
        out = [
            f"| variant | {head} | over uniform | over farthest_fisher | uniform labels per label |",
            "|---|" + "---|" * (len(self.report.budgets) + 3),
        ]
        ranked = sorted(self.report.curves, key=lambda c: -sum(i.value for i in c.reward))
        for curve in ranked:
            cells = " | ".join(f"{i.value:.3f}" for i in curve.reward)
            sides = [
                "" if curve.rule == name else self.report.difference(curve.rule, name).interval.text()
                for name in ("uniform", "farthest_fisher")
            ]
            worth = curve.mean_multiple
            high = f"{worth.high:.1f}" if np.isfinite(worth.high) else "more than tried"
            out.append(
                f"| {curve.rule} | {cells} | {sides[0]} | {sides[1]} | {worth.value:.1f} ({worth.low:.1f} to {high}) |"
            )
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"report": self.report.to_dict(), "what": self.what}


@dataclass(frozen=True)
class Search:
    """What was chosen on one half of the prompts, and how it does on the other. tuning, test: reports."""

    chosen: str
    what: str
    tuning: Report
    test: Report

    def lines(self) -> list[str]:
        """For people."""
        found = self.test.difference("chosen", "default").interval if self.chosen != "default" else None
        against = self.test.difference("chosen", "uniform").interval
        beside = "it is the default" if found is None else f"{found.text()} in reward over the default"
        return [
            f"Chosen on {self.tuning.prompts:,} prompts among {len(self.tuning.curves) - 1}: {self.chosen} "
            f"({self.what}).",
            f"Tested on the other {self.test.prompts:,} prompts: {beside}, {against.text()} over uniform.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "chosen": self.chosen,
            "what": self.what,
            "tuning": self.tuning.to_dict(),
            "test": self.test.to_dict(),
            "sentences": self.lines(),
        }


def study_rules(options: Options, arena: Arena, names: Sequence[str]) -> dict[str, tuple[str, Rule]]:
    """The default design, and everything of it changed one thing at a time. names: of the features files."""
    space, design = options.space, options.design
    found: dict[str, tuple[str, Rule]] = {}

    def add(name: str, what: str, rule: Rule) -> None:
        found[name] = (what, replace(rule, name=name))

    plain = Rule("design", "design", space, design)
    for each in RULES:
        if not each.by_reference:  # a pool may have no log-probabilities
            add(each.name, "simple rule", replace(plain, pick=each.name))
    add("design", "the design as asked", plain)
    for ridge in (each for each in (0.1, 1.0, 3.0, 10.0, 30.0, 100.0) if each != design.ridge):
        add(f"ridge {ridge:g}", f"relative ridge {ridge:g}", replace(plain, settings=replace(design, ridge=ridge)))
    for dim in (4, 8, 16, 32, 128):
        add(f"d = {dim}", f"{dim} dimensions", replace(plain, space=replace(space, dim=dim)))
    name, what = ("no length", "without") if space.length else ("length", "with")
    add(name, f"{what} the length coordinate", replace(plain, space=replace(space, length=not space.length)))
    add("no normalisation", "hidden states as they are", replace(plain, space=replace(space, normalize=False)))
    add("raw PCA", "PCA on hidden states, not on differences", replace(plain, space=replace(space, pca="raw")))
    spreads: dict[SpreadKind, str] = {
        "balanced": "every prompt its share",
        "capped": "at most so many labels a prompt",
        "free": "labels wherever they say most",
    }
    for spread, what in spreads.items():
        if spread != design.spread:
            add(spread, what, replace(plain, settings=replace(design, spread=spread)))
    add("exact", "selection by exchange", replace(plain, settings=replace(design, select="exact")))
    add("inclusion weights", "loss over inclusion probability", replace(plain, weighting="inclusion"))
    soft = replace(plain, settings=replace(design, ridge=1.0), weighting="inclusion")
    add("ridge 1, inclusion weights", "both", soft)
    if arena.tables[0].reference_logprob is not None:
        for kind in (kind.name for kind in FISHERS if kind.needs_logprobs):
            add(f"Fisher {kind}", f"{kind} probabilities", replace(plain, settings=replace(design, fisher=kind)))
            rule = replace(plain, settings=replace(design, fisher=kind), pick="farthest_fisher")
            add(f"Fisher {kind}, farthest", f"{kind} probabilities, farthest pair", rule)
    for k, name in enumerate(names[1:], start=1):
        add(f"features {name}", f"chosen on {name}, learned on {names[0]}", replace(plain, table=k))
        rule = replace(plain, table=k, pick="farthest_fisher")
        add(f"features {name}, farthest", f"farthest pair on {name}, learned on {names[0]}", rule)
    return found


def run_study(
    pool_file: PoolFile,
    features: str | Path,
    options: Options,
    *,
    batches: Sequence[str | Path] = (),
    also: Sequence[str | Path] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Study:
    """Every variant of the default design on all prompts with known outcomes. also: further features files."""
    arena = _arena(pool_file, (features, *also), options, batches)
    rules = study_rules(options, arena, _names(features, *also))
    plan = make_plan(arena, options, tuple(rule for _, rule in rules.values()), repeats=REPEATS)
    outcome = run_plan(arena, plan, options.seeds, workers=workers, progress=progress)
    return Study(make_report(outcome, arena), {name: what for name, (what, _) in rules.items()})


def search_rules(options: Options, arena: Arena, names: Sequence[str]) -> dict[str, tuple[str, Rule]]:
    """Representations to choose from: dimensions, normalisation, length, PCA, features file, Fisher matrix."""
    kept = ("d =", "no length", "no normalisation", "raw PCA", "Fisher ", "features ")
    every = study_rules(options, arena, names)
    found = {"default": ("as asked", replace(every["design"][1], name="default"))}
    found |= {name: it for name, it in every.items() if name.startswith(kept) and not name.endswith("farthest")}
    return found


def run_search(
    pool_file: PoolFile,
    features: str | Path,
    options: Options,
    *,
    batches: Sequence[str | Path] = (),
    also: Sequence[str | Path] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Search:
    """Choose a representation on half of the prompts, test it on the other half. Raises BacktestError.

    also: further features files, such as other layers; every policy is learned on `features`, whatever chose its pairs.
    """
    arena = _arena(pool_file, (features, *also), options, batches)
    rules = search_rules(options, arena, _names(features, *also))
    order = np.random.default_rng([options.seed, 5]).permutation(arena.prompts)
    half = arena.prompts // 2
    tuning, rest = part_of(arena, order[:half]), part_of(arena, order[half:])
    uniform = Rule("uniform", "uniform", options.space, options.design)
    report = _reported(tuning, options, (uniform, *(rule for _, rule in rules.values())), workers, progress)
    scores = {c.rule: sum(i.value for i in c.reward) for c in report.curves if c.rule != "uniform"}
    chosen = max(scores, key=lambda name: (scores[name], name == "default"))
    finalists = (uniform, rules["default"][1], replace(rules[chosen][1], name="chosen"))
    test = _reported(rest, options, finalists, workers, progress)
    return Search(chosen, rules[chosen][0], report, test)


def _reported(
    arena: Arena, options: Options, rules: tuple[Rule, ...], workers: int | None, progress: Progress | None
) -> Report:
    plan = make_plan(arena, options, rules, repeats=REPEATS)
    outcome = run_plan(arena, plan, options.seeds, workers=workers, progress=progress)
    first = "default" if "chosen" not in outcome.names else "chosen"
    return make_report(outcome, arena, design=first, references=("uniform", "default", "farthest_fisher"))


def _arena(pool_file: PoolFile, files: Sequence[str | Path], options: Options, batches: Sequence[str | Path]) -> Arena:
    pool = pool_file.pool
    truth = imported_truth(batches) if batches else pool_file.truth
    tables = [read_features(path, pool.ids(), pool_fingerprint=pool.fingerprint) for path in files]
    return make_arena(
        pool, truth, tables, reward=options.reward, temperature=options.label_temperature,
        source="labels" if batches else options.source,
    )  # fmt: skip


def _names(*files: str | Path) -> list[str]:
    """File names, numbered where they repeat."""
    plain = [Path(path).name for path in files]
    return [name if plain.count(name) == 1 else f"{name} ({k + 1})" for k, name in enumerate(plain)]


def part_of(arena: Arena, prompts: np.ndarray) -> Arena:
    """An arena of some of the prompts. Raises BacktestError where they are too few to split again."""
    if len(prompts) < 16:
        raise BacktestError(
            f"{len(prompts)} prompts are too few to choose on and split again; it takes 16 in each half."
        )
    half = half_of(arena, prompts)
    return replace(
        arena, pool=half.pool, tables=half.tables, reward=half.reward, probability=half.probability, notes=()
    )
