"""The command that trains a real model on bought labels of given answers: experiment answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from curation.cli.asked import DeviceOpt
from curation.cli.kinds import POLICY
from curation.cli.options import JsonOpt, ModelDtypeChoice, at_least_one, rule_names
from curation.cli.output import emit, say, say_inline
from curation.cli.writes import Writes
from curation.device import resolve_device


def register(app: typer.Typer) -> None:
    """Add the command to `experiment`."""
    app.command()(answers)


def answers(
    pool: Annotated[str, typer.Option(help="Pool whose answers carry `quality`.")],
    model: Annotated[str, typer.Option(help="Folder or hub name of the causal model that is trained.")],
    rules: Annotated[
        str, typer.Option(help="Rules, as trace,uniform: trace is the design, paper, 0.2.0, or a simple rule.")
    ] = "trace,farthest,uniform",
    budgets: Annotated[str, typer.Option(help="Labels a policy, as 40,120.")] = "40,120",
    seeds: Annotated[int, typer.Option(help="Splits of the prompts, each with its own labels.")] = 3,
    tokens: Annotated[int, typer.Option(help="Of an answer, its first ones.")] = 128,
    layers: Annotated[int, typer.Option(help="Layers that are trained, the model's last ones.")] = 4,
    per_prompt: Annotated[int, typer.Option(help="Answers of a prompt at most, taken at random; 0 is all.")] = 10,
    judged: Annotated[int, typer.Option(help="Held-out prompts that a policy is judged on.")] = 70,
    epochs: Annotated[int, typer.Option(help="Times every label is trained on.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW on the adapters.")] = 5e-4,
    beta: Annotated[float, typer.Option(help="Of DPO.")] = 0.1,
    temperature: Annotated[
        float | None, typer.Option(help="Labels are drawn on quality over this; default: as in a backtest.")
    ] = None,
    pooling: Annotated[str, typer.Option(help="Token(s) that stand for an answer in the design: last or mean.")] = (
        "last"
    ),
    dtype: Annotated[ModelDtypeChoice, typer.Option(help="Of the frozen weights; the adapters are float32.")] = (
        ModelDtypeChoice.float32
    ),
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of stages and result; default: where the dashboard looks."),
        Writes(POLICY),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, labels and adapters.")] = 0,
    device: DeviceOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Answers with known quality: DPO of a real model on the labels each rule buys. Run again to go on."""
    from curation.experiments.adapters import AdapterTraining
    from curation.experiments.answers import AnswersSettings, place, run_answers
    from curation.run.prepare import load_pool

    settings = AnswersSettings(
        model=model, rules=rule_names(rules), budgets=_numbers(budgets), answers=per_prompt, layers=layers,
        seeds=tuple(range(at_least_one(seeds, "--seeds"))), tokens=at_least_one(tokens, "--tokens"),
        judged=at_least_one(judged, "--judged"),
        temperature=temperature, dtype=cast(Literal["float32", "bfloat16"], dtype.value), pooling=pooling, seed=seed,
        training=AdapterTraining(epochs=at_least_one(epochs, "--epochs"), learning_rate=learning_rate, beta=beta),
    )  # fmt: skip
    loaded = load_pool(pool)
    folder = out or place(loaded.pool.name)

    def told(done: int, total: int, seconds: float, note: str) -> None:
        say_inline(f"{done}/{total} policies, {seconds:.0f} s: {note}")

    result = run_answers(loaded, settings, folder, device=resolve_device(device), told=told, say=say)
    say("")
    lines = [*table(result), *result["sentences"], f"written to {folder} in {result['seconds']:.0f} s"]
    emit({**result, "out": str(folder)}, as_json, lines)


def table(result: dict[str, Any]) -> list[str]:
    """One line per rule and budget, one per lead over uniform."""
    lines = [f"{'rule':<20}{'labels':>7}  {'reward at equal KL':<28}{'accuracy':<24}{'answers of one length':<24}KL"]
    for row in result["table"]:
        lines.append(
            f"{row['rule']:<20}{row['labels']:>7}  {_interval(row['reward'], 3):<28}{_share(row['accuracy']):<24}"
            f"{_share(row['matched']):<24}{row['kl']:.2f}"
        )
    for lead in result["leads"]:
        lines.append(f"{lead['rule']} minus uniform, {lead['labels']} labels: {_interval(lead['reward'], 3)} in reward")
    return lines


def _interval(values: list[float], digits: int) -> str:
    value, low, high = values
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _share(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not a list like 40,120", param_hint="--budgets")
    return tuple(sorted({int(part) for part in parts}))
