"""Commands of the policy experiments: experiment imdb, experiment hh."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from curation.cli.asked import DeviceOpt
from curation.cli.kinds import POLICY
from curation.cli.options import (
    JsonOpt,
    JudgeCostOpt,
    JudgeModelOpt,
    JudgePricesOpt,
    JudgeRequestsOpt,
    at_least_one,
    judge_prices_of,
    rule_names,
)
from curation.cli.output import emit, say, say_inline
from curation.cli.writes import Writes
from curation.device import resolve_device


class ScaleChoice(StrEnum):
    published = "published"
    real = "real"
    small = "small"
    test = "test"


ScaleOpt = Annotated[
    ScaleChoice,
    typer.Option(
        help="published: the paper's models from the hub; real: --model, hours on a CPU; small: minutes, no model."
    ),
]
ModelOpt = Annotated[str | None, typer.Option(help="Folder or hub name of the base model of real or published.")]
RulesOpt = Annotated[
    str | None, typer.Option(help="Rules, as trace,uniform: trace is the design, paper, 0.2.0, or a simple rule.")
]
SeedsOpt = Annotated[int | None, typer.Option(help="Runs of every policy, each with its own labels.")]
OutOpt = Annotated[
    Path | None,
    typer.Option(help="Folder of stages and result; default: where the dashboard looks."),
    Writes(POLICY),
]
SeedOpt = Annotated[int, typer.Option(help="Seed of splits, models, samples and labels.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `experiment`."""
    app.command()(imdb)
    app.command()(hh)


def imdb(
    scale: ScaleOpt = ScaleChoice.published,
    data: Annotated[str | None, typer.Option(help="Reviews: rows with `text` and `label`, or a hub dataset.")] = None,
    model: ModelOpt = None,
    rules: RulesOpt = None,
    seeds: SeedsOpt = None,
    out: OutOpt = None,
    seed: SeedOpt = 0,
    device: DeviceOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Movie reviews: reward-KL frontier of DPO policies trained on chosen pairs. Run again to go on."""
    changed = _changed(rules, seeds, ("prompt_rules", "response_rules") if scale != "real" else ("response_rules",))
    _run("imdb", scale, data, out, seed, device, as_json, model=model, changed=changed)


def hh(
    pool: Annotated[str, typer.Option(help="Pool with `labels` or `quality`, such as an HH split.")],
    scale: ScaleOpt = ScaleChoice.published,
    judge: Annotated[
        str | None, typer.Option(help="Base address of an OpenAI-compatible API; default: a local reward model.")
    ] = None,
    judge_model: JudgeModelOpt = "gpt-4o-mini",
    judge_prices: JudgePricesOpt = None,
    judge_cost: JudgeCostOpt = None,
    judge_requests: JudgeRequestsOpt = 5000,
    model: ModelOpt = None,
    rules: RulesOpt = None,
    seeds: SeedsOpt = None,
    out: OutOpt = None,
    seed: SeedOpt = 0,
    device: DeviceOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Dialogues: win rates of DPO policies trained on half of the labels. Run again to go on."""
    from curation.experiments.policy import place

    chosen: Any = None
    if judge is not None:
        from curation.experiments.judge import EndpointJudge

        chosen = EndpointJudge(
            judge, judge_model, (out or place("hh")) / "judge.sqlite", prices=judge_prices_of(judge_prices),
            most_requests=judge_requests, most_cost=judge_cost, told=say,
        )  # fmt: skip
    name = f"{judge_model} at {judge}" if judge else "local reward model"
    changed = _changed(rules, seeds, ("rules",))
    _run("hh", scale, pool, out, seed, device, as_json, model=model, changed=changed, judge=chosen, judge_name=name)


def _changed(rules: str | None, seeds: int | None, fields: tuple[str, ...]) -> dict[str, Any]:
    """Settings that options replace."""
    out: dict[str, Any] = {}
    if rules is not None:
        named = rule_names(rules)
        out |= dict.fromkeys(fields, named)
    if seeds is not None:
        out["seeds"] = tuple(range(at_least_one(seeds, "--seeds")))
    return out


def _run(
    kind: Any,
    scale: ScaleChoice,
    data: str | None,
    out: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    **more: Any,
) -> None:
    from curation.experiments.policy import place, run_policy

    folder = out or place(kind)

    def told(done: int, total: int, seconds: float, note: str) -> None:
        say_inline(f"{done}/{total} stages, {seconds:.0f} s: {note}")

    result = run_policy(
        kind, scale.value, data, folder, seed=seed, device=resolve_device(device), told=told, say=say, **more
    )
    say("")
    lines = [*table(result), *result["sentences"], f"written to {folder} in {result['seconds']:.0f} s"]
    emit({**result, "out": str(folder)}, as_json, lines)


def table(result: dict[str, Any]) -> list[str]:
    """One line per policy."""
    if result["kind"] == "imdb":
        start = result["reference"]
        lines = [f"reference reward {start['reward']:+.3f} ± {start['reward_error']:.3f}"]
        for p in result["points"]:
            lines.append(
                f"{p['curation']:<9} {p['rule']:<19} beta {p['beta']:<5g} seed {p['seed']}: reward {p['reward']:+.3f} "
                f"± {p['reward_error']:.3f} at {p['kl']:.2f} ± {p['kl_error']:.2f} nats, {p['labels']} labels"
            )
        return lines
    sure = result["judge_accuracy"]
    said = "" if sure is None or math.isnan(sure) else f", right on {sure:.0%} of held-out pairs"
    lines = [f"judge: {result['judge']}{said}"]
    for p in result["points"]:
        lines.append(
            f"{p['share']:.0%} {p['rule']:<10} seed {p['seed']} temperature {p['temperature']:<5g} against "
            f"{p['against']:<10} {p['win_rate']:.1%} ± {p['error']:.1%}"
        )
    return lines
