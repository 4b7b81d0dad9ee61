"""The backtest wired to a pool with known outcomes: run on all cores, kept in the workspace, read by the pages."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation.backtest.arena import Arena, BacktestError, RewardKind, half_of, half_sizes, make_arena
from curation.backtest.draw import Drawer
from curation.backtest.misled import Misled, where_misled
from curation.backtest.nuisance import Explained, without
from curation.backtest.policy_value import default_kl
from curation.backtest.report import Report, joint_verdict, make_report
from curation.backtest.split import Outcome, Plan, Rule, run_seed, stack, standard_rules
from curation.batch.folder import read_batch
from curation.design.criteria.base import Criterion
from curation.design.result import Design
from curation.design.sets.feasible import Feasible
from curation.pool.labels import Label, in_force
from curation.pool.schema import Pool, PoolFile, Truth
from curation.representation.features_file import read_features
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import design_problem, run_solver
from curation.settings import DesignSettings, SpaceSettings, kept_design, kept_space, preparing, workspace

Array = NDArray[np.float64]
Split = TypeVar("Split")
Ground = TypeVar("Ground")
Progress = Callable[[int, int, float], None]
RESULT = "backtest.json"
FORMAT_VERSION = 1
MOST_LABELS = 2_000  # of a default budget: beyond, a fit takes seconds
_ground: Any = None  # of a worker process: what its splits are judged on
_drawer: Drawer | None = None


@dataclass(frozen=True)
class Options:
    """What to test and how. budgets: labels per batch, rising; empty: an eighth to all of the training half's prompts.

    label_temperature: labels are Bradley-Terry draws on reward / temperature; None: 1 for logits. kl: nats at which
    policies are judged; None: a quarter of the mean log number of candidates. source: which outcomes count. nuisance:
    columns whose liking by the judge is taken out of the outcomes for the second report.
    """

    space: SpaceSettings = field(default_factory=SpaceSettings)
    design: DesignSettings = field(default_factory=lambda: DesignSettings(budget=1, tol=1e-3))
    budgets: tuple[int, ...] = ()
    seeds: int = 24
    reward: RewardKind = "auto"
    label_temperature: float | None = None
    kl: float | None = None
    source: Literal["auto", "quality", "labels"] = "auto"
    seed: int = 0
    nuisance: tuple[str, ...] = ("length",)

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise BacktestError(f"--seeds {self.seeds} is below 2; one split says nothing of its own error.")
        if self.kl is not None and not self.kl > 0:
            raise BacktestError(f"--kl {self.kl:g} is not a positive number of nats; try 0.5.")
        if self.design.cost is not None or self.design.quotas:
            raise BacktestError("costs and quotas are for the whole pool, not for half of it; leave them out here.")
        for low, high in zip((0, *self.budgets), self.budgets, strict=False):
            if high <= low:
                raise BacktestError(
                    f"--budgets {','.join(map(str, self.budgets))} must be whole numbers above 0 that rise."
                )


@dataclass(frozen=True)
class Result:
    """A backtest as kept: what was asked, what came out, how long it took.

    report: on the outcomes as they are; without: on what is left of them without the nuisance, None in files of
    earlier versions. explained: what the nuisance accounts for.
    """

    options: Options
    report: Report
    misled: Misled | None
    pool: str
    features: str
    notes: tuple[str, ...]
    seconds: float
    outcome: Outcome | None = None  # not kept in the file
    without: Report | None = None
    explained: Explained | None = None

    @property
    def ahead(self) -> bool:
        """Whether the declared test calls the design ahead of uniform sampling, on both outcomes."""
        return self.report.ahead and (self.without is None or self.without.ahead)

    @property
    def verdict(self) -> str:
        """The declared verdict: both outcomes, or which of them."""
        if self.without is None:
            return self.report.verdict
        return joint_verdict(self.report, self.without, " and ".join(self.options.nuisance))


def run_backtest(
    pool_file: PoolFile,
    features: str | Path,
    options: Options,
    *,
    batches: Sequence[str | Path] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Backtest a design against the simple rules on a pool whose outcomes are known.

    batches: folders of earlier batches whose imported labels count as outcomes. workers: processes, None for one a
    core; results do not depend on it. Raises BacktestError where too little is known or a budget does not fit.
    """
    started = time.perf_counter()
    truth = imported_truth(batches) if batches else pool_file.truth
    source = "labels" if batches else options.source
    pool = pool_file.pool
    table = read_features(features, pool.ids(), pool_fingerprint=pool.fingerprint)
    arena = make_arena(
        pool, truth, [table], reward=options.reward, temperature=options.label_temperature, source=source
    )
    plan = make_plan(arena, options)
    twin, explained = without(arena, options.nuisance)
    outcome, rest = run_plans((arena, twin), plan, options.seeds, workers=workers, progress=progress)
    misled = _misled(arena, options, outcome.kl)
    return Result(
        options=replace(options, budgets=plan.budgets),
        report=make_report(outcome, arena),
        without=make_report(rest, twin),
        explained=explained,
        misled=misled,
        pool=pool.fingerprint,
        features=table.fingerprint,
        notes=(*arena.notes, *table.notes),
        seconds=time.perf_counter() - started,
        outcome=outcome,
    )


def _misled(arena: Arena, options: Options, kl: float) -> Misled:
    """Of a design with a label a prompt, on everything whose outcome is known."""
    asked = options.design
    prepared = prepare(arena.pool, arena.tables[0], space=options.space, device="cpu", **preparing(asked))
    settings = replace(asked, budget=min(arena.prompts, arena.pool.n_pairs))

    def solve(fisher: Array) -> tuple[Criterion, Feasible, Design]:
        criterion, feasible = design_problem(replace(prepared, fisher=fisher), settings)
        return criterion, feasible, run_solver(criterion, feasible, settings)

    return where_misled(prepared.phi, prepared.probabilities.p, prepared.fisher, arena, solve, kl=kl)


def make_plan(arena: Arena, options: Options, rules: tuple[Rule, ...] | None = None, *, repeats: int = 1) -> Plan:
    """The plan of the options, its budgets checked against half of the arena. Raises BacktestError."""
    prompts, pairs = half_sizes(arena)
    budgets = options.budgets or default_budgets(prompts, pairs)
    if budgets[-1] > pairs:
        raise BacktestError(
            f"--budgets {budgets[-1]}: half of this pool has {pairs:,} pairs with known outcomes; give less."
        )
    low = [budgets[0] // 2] if budgets[0] >= 8 else []
    high = [budgets[-1] * factor for factor in (2, 4, 8) if budgets[-1] * factor <= min(pairs, 4 * MOST_LABELS)]
    return Plan(
        rules=rules or standard_rules(options.space, options.design),
        budgets=budgets,
        learner=options.space,
        uniform_budgets=(*low, *high),
        kl=options.kl or default_kl(half_of(arena, np.arange(arena.prompts)).groups()),
        seed=options.seed,
        repeats=repeats,
    )


def default_budgets(prompts: int, pairs: int) -> tuple[int, ...]:
    """An eighth, a quarter, half and all of the prompts of a half, or of half its pairs where those are fewer."""
    top = min(prompts, pairs // 2, MOST_LABELS)
    return tuple(sorted({max(2, round(top / part)) for part in (8, 4, 2, 1)}))


def run_plan(
    arena: Arena, plan: Plan, seeds: int, *, workers: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Every split of a plan, on all cores. workers: processes, None for one a core."""
    return run_plans((arena,), plan, seeds, workers=workers, progress=progress)[0]


def run_plans(
    arenas: Sequence[Arena], plan: Plan, seeds: int, *, workers: int | None = None, progress: Progress | None = None
) -> tuple[Outcome, ...]:
    """Every split of a plan on all cores, judged on several outcomes of one pool; the batches are the same."""
    splits = each_split(run_seed, tuple(arenas), plan, seeds, workers=workers, progress=progress)
    return tuple(stack(plan, [split[k] for split in splits]) for k in range(len(arenas)))


def each_split(
    judge: Callable[[Ground, Any, int, Drawer], Split],
    ground: Ground,
    plan: Any,
    seeds: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Split]:
    """What `judge` finds on every split of a plan (a function of a module: processes are sent its name), in order.

    ground: one arena or several, whatever `judge` takes.
    """
    count = min(seeds, workers or os.cpu_count() or 1)
    started = time.perf_counter()
    found: dict[int, Split] = {}

    def told() -> None:
        if progress is not None:
            progress(len(found), seeds, time.perf_counter() - started)

    if count == 1:
        drawer = Drawer()
        for seed in range(seeds):
            found[seed] = judge(ground, plan, seed, drawer)
            told()
    else:
        context = multiprocessing.get_context("spawn")
        with (
            _one_thread_each(),
            ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(ground,)) as pool,
        ):
            waiting = {pool.submit(_one, judge, plan, seed): seed for seed in range(seeds)}
            try:
                for done in as_completed(waiting):
                    found[waiting[done]] = done.result()
                    told()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [found[seed] for seed in range(seeds)]


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside use one thread each: they share the cores already."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(ground: Any) -> None:
    global _ground, _drawer
    import torch

    torch.set_num_threads(1)
    _ground, _drawer = ground, Drawer()


def _one(judge: Callable[[Any, Any, int, Drawer], Split], plan: Any, seed: int) -> Split:
    assert _drawer is not None
    return judge(_ground, plan, seed, _drawer)


def imported_answers(folders: Sequence[str | Path]) -> list[tuple[str, str, str, Label]]:
    """prompt_id, response_a_id, response_b_id and label of every answer imported for batches, skips left out.

    `graded_outcome` of a label gives its strength, -2 to 2. Raises BacktestError for a batch without answers.
    """
    store, found = open_store(), []
    for folder in folders:
        batch = read_batch(folder)
        ends = {r["pair_id"]: (r["prompt_id"], r["response_a_id"], r["response_b_id"]) for r in batch.records}
        kept = in_force(store.labels(batch.batch_id))
        labels = [label for label in kept if label.outcome != "skip" and label.pair_id in ends]
        if not labels:
            raise BacktestError(f"batch {batch.batch_id} has no labels; import them first, or leave it out.")
        found += [(*ends[label.pair_id], label) for label in labels]
    return found


def imported_truth(folders: Sequence[str | Path]) -> Truth:
    """The labels imported for batches as outcomes; a tie is half a win, a skip is none. Raises BacktestError.

    An outcome is who won, so slightly and much better are one win alike and both bad is a tie: shares of graded and
    binary batches mean the same. `imported_answers` keeps the strength.
    """
    share = {"a": 1.0, "b": 0.0, "tie": 0.5}
    answers = imported_answers(folders)
    return Truth(labels=tuple((prompt, a, b, share[label.outcome]) for prompt, a, b, label in answers))


def place(pool: Pool) -> Path:
    """Where the dashboard looks for a pool's backtest."""
    return workspace() / "backtests" / pool.fingerprint


def write(result: Result, folder: Path) -> Path:
    """Keep a result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        "format_version": FORMAT_VERSION,
        "options": asdict(result.options),
        "report": result.report.to_dict(),
        "misled": None if result.misled is None else result.misled.to_dict(),
        "without": None if result.without is None else result.without.to_dict(),
        "explained": None if result.explained is None else asdict(result.explained),
        "verdict": result.verdict,
        "pool": result.pool,
        "features": result.features,
        "notes": list(result.notes),
        "seconds": result.seconds,
    }
    staging = folder / f".{RESULT}.{os.getpid()}"
    staging.write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
    return staging.replace(folder / RESULT)


def read(folder: Path) -> Result | None:
    """A kept result, None where there is none. Raises BacktestError where the file is not one."""
    try:
        kept = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BacktestError(f"{folder / RESULT} is not a backtest ({error}); run it again.") from None
    if kept.get("format_version") != FORMAT_VERSION:
        raise BacktestError(f"{folder / RESULT} is of another version of this program; run the backtest again.")
    asked = kept["options"]
    return Result(
        options=options_of(asked),
        report=Report.from_dict(kept["report"]),
        misled=None if kept["misled"] is None else Misled.from_dict(kept["misled"]),
        pool=kept["pool"],
        features=kept["features"],
        notes=tuple(kept["notes"]),
        seconds=kept["seconds"],
        without=Report.from_dict(kept["without"]) if kept.get("without") else None,
        explained=Explained.from_dict(kept["explained"]) if kept.get("explained") else None,
    )


def options_of(asked: dict[str, Any]) -> Options:
    """Options from their JSON form."""
    return Options(
        **{
            **asked,
            "space": kept_space(asked["space"]),
            "design": kept_design({**asked["design"], "quotas": ()}),
            "budgets": tuple(asked["budgets"]),
            "nuisance": tuple(asked.get("nuisance", ("length",))),
        }
    )


def run_job(options: dict[str, Any], out: str, progress: Any) -> str:
    """The worker of the Evidence page. options: pool, features (paths), batches (folders), options (JSON form)."""
    pool_file = load_pool(options["pool"])
    result = run_backtest(
        pool_file, options["features"], options_of(options["options"]), batches=options.get("batches", ()),
        progress=progress,
    )  # fmt: skip
    write(result, Path(out))
    return result.verdict
