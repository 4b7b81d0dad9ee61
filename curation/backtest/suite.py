"""The suite: every pool of a folder, both outcomes, one table. What a default may claim is its worst pool and its mean.

A default tuned on one judge's pool is that judge's. The suite runs the same rules on every pool with known outcomes
that lies in a folder, as given and with the nuisance taken out, and tells what would have been chosen without each.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from curation.backtest.arena import Arena, BacktestError, half_of, half_sizes, make_arena
from curation.backtest.contrasts.base import CONTRASTS
from curation.backtest.nuisance import without
from curation.backtest.policy_value import default_kl
from curation.backtest.run import Options, run_plans
from curation.backtest.split import Plan, Rule
from curation.backtest.suite_report import Ground, Standing, Suite, read_standings, standings
from curation.design.rules.base import RULES
from curation.errors import CurationError, PoolError
from curation.insight.learning_rule import Bets
from curation.pool.schema import PoolFile
from curation.representation.features_file import FeatureTable, read_features
from curation.run.prepare import load_pool
from curation.settings import PRESETS

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
PILOT = 1 / 3  # of the labels, bought first
SHARES = (0.25, 0.5, 1.0, 3.0)  # labels per prompt of the training half
MOST_LABELS = 2_000  # of a budget: beyond, a fit takes seconds
GIVEN = "as given"
FORMAT = 1  # of what is kept of a pool; raise it when rules or measures change

Told = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A pool of a suite and its features."""

    name: str
    pool: Path
    features: Path


def find_entries(folder: Path, features: Path | None = None) -> tuple[list[Entry], list[str]]:
    """Pools of a folder that have a features file beside them or in `features`, and why others are left out.

    NAME.jsonl.gz goes with NAME.features.parquet, else with the first NAME.*.parquet. Raises PoolError where the
    folder is none or holds no such pool.
    """
    if not folder.is_dir():
        raise PoolError(f"--suite {folder} is not a folder; name one with pools and their features files.")
    entries, skipped = [], []
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(SUFFIXES))
    for path in files:
        name = path.name
        for suffix in SUFFIXES:
            name = name.removesuffix(suffix)
        if path.suffix == ".parquet" and "." in name:
            continue  # a features file of another
        places = [place for place in (features, folder) if place is not None and place.is_dir()]
        found = [
            p
            for place in places
            for p in (place / f"{name}.features.parquet", *sorted(place.glob(f"{name}.*.parquet")))
        ]
        beside = next((p for p in found if p.is_file()), None)
        if beside is None:
            skipped.append(f"{path.name} is left out: there is no {name}.features.parquet.")
        else:
            entries.append(Entry(name, path, beside))
    if not entries:
        raise PoolError(f"--suite {folder} holds no pool with a features file (NAME.jsonl.gz, NAME.features.parquet).")
    return entries, skipped


def suite_rules(options: Options, *, study: bool = False) -> dict[str, tuple[str, Rule]]:
    """Rules of a suite by name, with what they are in words; `design ...` are the ones a default may be chosen from.

    Simple rules keep an even spread over prompts, whatever the design's. study: many settings besides the default.
    """
    space, design = options.space, options.design
    even = replace(design, spread="auto", per_prompt=None, select="sample")
    found: dict[str, tuple[str, Rule]] = {}

    def add(name: str, what: str, rule: Rule) -> None:
        found[name] = (what, replace(rule, name=name))

    plain = Rule("design", "design", space, design)
    add("design", "design as asked", plain)
    for name, preset in PRESETS.items():
        if name != "default":
            add(preset.title, "preset", Rule(name, "design", preset.space(space), preset.design(design)))
    simple = [rule.name for rule in RULES if not rule.by_reference]  # a pool may have no log-probabilities
    for name in (*simple, *CONTRASTS.names()):
        add(name, "simple rule", Rule(name, name, space, even))
    add("pilot, not learnt from", "a third first, the rest knowing what was bought", replace(plain, pilot=PILOT))
    add("pilot", "a third first, the rest by what its labels say", replace(plain, pilot=PILOT, bets=Bets()))
    if not study:
        return found
    for ridge in (0.01, 0.03, 0.3, 1.0, 3.0, 30.0):
        asked = replace(design, ridge=ridge, ridge_kind="relative")
        add(f"ridge {ridge:g}", f"design, ridge {ridge:g}", replace(plain, settings=asked))
    for power in (0.0, 1.0):
        asked = replace(design, prior_power=power)
        add(f"power {power:g}", f"design, prior power {power:g}", replace(plain, settings=asked))
    asked = replace(design, ridge=0.1, ridge_kind="relative", prior_power=0.0)
    add("ridge 0.1, power 0", "design, ridge 0.1 alike in all directions", replace(plain, settings=asked))
    for spread in ("capped", "balanced", "free"):
        if spread != design.spread:
            asked = replace(design, spread=spread)  # type: ignore[arg-type]
            add(spread, f"design, {spread}", replace(plain, settings=asked))
    other = replace(space, length=not space.length)
    word = "with" if other.length else "without"
    add(f"{word} length", f"design, {word} the length coordinate", replace(plain, space=other))
    add("d = 32", "design, 32 dimensions", replace(plain, space=replace(space, dim=32)))
    add("not normalised", "design, features as they are", replace(plain, space=replace(space, normalize=False)))
    add("exact", "design, selection by exchange", replace(plain, settings=replace(design, select="exact")))
    add("half uniform", "design, half of the weights uniform", replace(plain, mixture=0.5))
    return found


def suite_plan(arena: Arena, rules: Sequence[Rule], options: Options) -> Plan:
    """Budgets from a quarter of the training prompts to three labels each (half its pairs at most), one learner.

    Every batch is fitted with the length coordinate, whatever its rule looked at: a policy can always write longer.
    """
    prompts, pairs = half_sizes(arena)
    top = min(3 * prompts, pairs // 2, MOST_LABELS)
    budgets = options.budgets or tuple(sorted({max(2, round(min(prompts * share, top))) for share in SHARES}))
    if budgets[-1] > pairs:
        raise BacktestError(f"--budgets {budgets[-1]}: half of a pool has {pairs:,} pairs with known outcomes.")
    more = [budgets[0] // 2] if budgets[0] >= 8 else []
    more += [budgets[-1] * f for f in (2, 4, 8) if budgets[-1] * f <= min(pairs, 4 * MOST_LABELS)]
    return Plan(
        rules=tuple(rules),
        budgets=budgets,
        learner=replace(options.space, length=True),
        uniform_budgets=tuple(more),
        kl=options.kl or default_kl(half_of(arena, np.arange(arena.prompts)).groups()),
        seed=options.seed,
    )


def fitting(rules: Sequence[Rule], arena: Arena) -> list[Rule]:
    """The rules that mean something on an arena."""
    unfit = {contrast.name for contrast in CONTRASTS if not contrast.fits(arena)}
    return [rule for rule in rules if rule.pick not in unfit]


def run_suite(
    folder: str | Path,
    options: Options,
    *,
    features: str | Path | None = None,
    study: bool = False,
    workers: int | None = None,
    told: Told | None = None,
    keep: Path | None = None,
) -> Suite:
    """Every rule on every pool of a folder, on both outcomes. features: folder of further features files.

    Pools without outcomes are left out and named. told: hears what is being done. keep: folder where finished pools are
    kept, so that a suite that was stopped goes on where it was.
    """
    started = time.perf_counter()
    entries, skipped = find_entries(Path(folder), None if features is None else Path(features))
    named = suite_rules(options, study=study)
    grounds: list[Ground] = []
    rows: list[Standing] = []
    explained: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            file = load_pool(entry.pool)
            table = read_features(entry.features, file.pool.ids(), pool_fingerprint=file.pool.fingerprint)
            arena = make_arena(
                file.pool, file.truth, [table], reward=options.reward, temperature=options.label_temperature,
                source=options.source,
            )  # fmt: skip
            twin, known = without(arena, options.nuisance)
        except CurationError as error:
            skipped.append(f"{entry.pool.name} is left out: {error}")
            continue
        if told is not None:
            told(f"{entry.name} ({number} of {len(entries)}, {time.perf_counter() - started:.0f} s)")
        plan = suite_plan(arena, fitting([rule for _, rule in named.values()], arena), options)
        kept = None if keep is None else keep / f"{entry.name}.{_digest(plan, options, file, table)}.json"
        if kept is not None and kept.is_file():
            ones, many = read_standings(json.loads(kept.read_text(encoding="utf-8")))
        else:
            outcomes = run_plans((arena, twin), plan, options.seeds, workers=workers)
            taken = f"{' and '.join(options.nuisance)} out"
            found = [
                standings(outcome, ground, pool=entry.name, kind=kind)
                for outcome, ground, kind in zip(outcomes, (arena, twin), (GIVEN, taken), strict=True)
            ]
            ones, many = [one for one, _ in found], [row for _, rows in found for row in rows]
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                staging = kept.with_suffix(f".{os.getpid()}")
                staging.write_text(
                    json.dumps({"grounds": [asdict(g) for g in ones], "standings": [asdict(r) for r in many]}),
                    encoding="utf-8",
                )
                staging.replace(kept)
        grounds += ones
        rows += many
        explained[entry.name] = known.sentence()
    if not grounds:
        raise BacktestError(f"no pool of {folder} has known outcomes: {' '.join(skipped)}")
    return Suite(
        tuple(grounds), tuple(rows), {name: what for name, (what, _) in named.items()}, explained, tuple(skipped),
        time.perf_counter() - started,
    )  # fmt: skip


def _digest(plan: Plan, options: Options, file: PoolFile, table: FeatureTable) -> str:
    """12 hex digits of everything that a pool's standings depend on."""
    content = repr((plan, options, file.pool.fingerprint, table.fingerprint, FORMAT))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
