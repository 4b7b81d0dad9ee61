"""The keys of what every command prints under --json, one level deep, with the kinds of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.desk.golden_runs import answered, call, decided, write_features, write_pool

FAST = ("--seeds", 2, "--workers", 1, "--budgets", "8,16", "--dim", 6)


def kind(value: Any) -> Any:
    """What JSON calls a value; of a list the kind of its first, of an object the kinds under its keys."""
    if isinstance(value, dict):
        return {key: kind(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kind(value[0])] if value else []
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return "text" if isinstance(value, str) else "number"


def shape(value: Any, depth: int = 2) -> Any:
    """`kind`, but what lies deeper than `depth` objects is only called object."""
    if isinstance(value, dict):
        return {key: shape(inner, depth - 1) for key, inner in value.items()} if depth else "object"
    return [shape(inner, depth) for inner in value[:1]] if isinstance(value, list) else value


def fits(found: Any, held: Any) -> bool:
    """Whether the shape of an answer is the one held; null, and a list without anything, stand for anything."""
    if "null" in (found, held) or found == held:
        return True
    if isinstance(found, dict) and isinstance(held, dict):
        return found.keys() == held.keys() and all(fits(found[key], held[key]) for key in held)
    if isinstance(found, list) and isinstance(held, list):
        return not found or not held or fits(found[0], held[0])
    return False


def answers(folder: Path) -> dict[str, Any]:
    """What every command says on the small pool, by the command and what it was asked."""
    pool, features = write_pool(folder), write_features(folder)
    batch, sent = folder / "batch", folder / "tasks.csv"
    base = (pool, "--features", features, "--budget", 12, "--dim", 6)
    said: dict[str, Any] = {"people": call("people")}
    said["check"] = call("check", pool)
    said["check --features"] = call("check", pool, "--features", features)
    said["an error"] = call("check", folder / "none.jsonl", status=1)
    said["solve"] = call("solve", *base, "--quota", "a=..9", "--out", batch, "--overlap", "0.2")
    said["solve --pilot"] = call("solve", *base, "--pilot", 6, "--out", folder / "pilot")
    said["compare"] = call("compare", *base)
    said["labels, none yet"] = call("labels", batch)
    decided(batch, folder / "d.csv")
    said["decide"] = call("decide", batch, folder / "d.csv", "--as", "ben")
    said["export --unsigned"] = call("export", batch, "--to", "csv", "--out", sent, "--unsigned", "--as", "ana")
    said["sign"] = call("sign", batch, "--as", "cat", "--acknowledge", "all")
    said["verify"] = call("verify", batch)
    said["export"] = call(
        "export", batch, "--to", "csv", "--out", sent, "--force", "--as", "ana", "--annotators", "eve,fay"
    )
    for who in ("eve", "fay"):
        one = answered(sent, folder / f"{who}.csv", who)
        said["import-labels"] = call("import-labels", batch, one, "--as", "ana")
    said["labels"] = call("labels", batch)
    said["export --to trl"] = call("export", batch, "--to", "trl", "--out", folder / "t.jsonl", "--ties", "--as", "ana")
    said["solve --previous"] = call("solve", *base, "--previous", batch, "--out", folder / "next")
    other = folder / "other"
    call("solve", *base, "--seed", 5, "--out", other)
    decided(other, folder / "o.csv", reject=1)
    said["topup"] = call("topup", other, pool, "--features", features, "--as", "ana")
    said["backtest"] = call("backtest", pool, "--features", features, *FAST, "--out", folder / "backtest")
    said["experiment tabular"] = call("experiment", "tabular", "--seeds", 2, "--out", folder / "tabular")
    said["experiment contextual"] = call("experiment", "contextual", "--seeds", 2, "--out", folder / "contextual")
    return said


def slow_answers(folder: Path) -> dict[str, Any]:
    """The same of what takes longer: a model, the other backtests, the timing of the solver."""
    from tests.desk.tiny_models import save_model

    pool, features = write_pool(folder, 40), write_features(folder, 40)
    model = save_model(folder / "model", "gpt2")
    said = {"features": call("features", pool, "--model", model, "--out", folder / "f.parquet", "--device", "cpu")}
    asked = ("backtest", pool, "--features", features, *FAST)
    said["backtest --answers graded"] = call(*asked, "--answers", "graded", "--out", folder / "graded")
    said["backtest --search"] = call(*asked, "--search")
    said["backtest --study"] = call(*asked, "--study")
    said["backtest --suite"] = call("backtest", "--suite", folder, *FAST)
    said["bench"] = call("bench", "--quick", "--repeats", 1)
    return said


def golden(folder: Path, *, slow: bool) -> dict[str, Any]:
    """Command -> shape of its answer, of the quick ones or of the slow ones."""
    return {name: shape(kind(answer)) for name, answer in (slow_answers if slow else answers)(folder).items()}
