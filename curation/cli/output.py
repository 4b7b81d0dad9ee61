"""How the command line speaks: JSON or lines on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def emit(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        print("\n".join(lines))


def plain(value: Any) -> Any:
    """JSON without infinities or nan, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def progress_line(what: str = "responses") -> Any:
    def show(done: int, total: int, seconds: float) -> None:
        rate = done / seconds if seconds > 0 else 0.0
        left = (total - done) / rate if rate > 0 else math.inf
        if sys.stderr.isatty() or done == total:
            say_inline(f"{done}/{total} {what}, {rate:.0f}/s, {left:.0f} s left")

    return show


def say_inline(text: str) -> None:
    print("\r" + text.ljust(60), end="", file=sys.stderr, flush=True)


def solve_lines(result: dict[str, Any]) -> list[str]:
    from curation.insight.length_share import LengthShare

    lines = [
        f"{result['selected_labels']} labels on {result['selected_pairs']} of {result['pairs']} pairs "
        f"({result['prompts']} prompts), spread {result['spread']}, Fisher {result['fisher']}, d = {result['dim']}",
        f"criterion of the batch {result['realised']:.6g}, best possible at least {result['lower_bound']:.6g}: "
        f"efficiency {result['efficiency']:.1%}; design gap {result['gap']:.1e}, open {result['open']:.1e}, "
        f"{result['passes']} passes, {result['seconds']['solve']:.2f} s on {result['device']}",
        *_limit_lines(result),
        *([f"goes on from {result['previous_labels']} labels of earlier batches"] if result["previous_labels"] else []),
        *_learnt_lines(result),
        "the criterion measures what labels can identify; it is not the reward",
        LengthShare.from_dict(result["length"]).sentence(),
        *result["notes"],
    ]
    for name, value in result["baselines"].items():
        shown = "left out" if value is None else f"{value:.6g} ({value / result['realised']:.2f} x the batch)"
        lines.append(f"  {name:<20} {shown}")
    return [*lines, f"written to {result['out']}"] if "out" in result else lines


def _learnt_lines(result: dict[str, Any]) -> list[str]:
    """What earlier labels said, and what a pilot is for."""
    lines = []
    if result["learnt"]:
        lines += [*result["learnt"]["sentences"], *result["learnt"]["next"]["words"]]
    if result["pilot"]:
        now, whole = result["pilot"]["labels"], result["pilot"]["of"]
        folder = result.get("out", "THIS BATCH")
        lines.append(
            f"a pilot: {now:g} of {whole:g}. Next: label it, `import-labels {folder} FILE`, then `solve ... --previous "
            f"{folder} --budget {whole - now:g}` spends the rest by what the labels say"
        )
    return lines


def _limit_lines(result: dict[str, Any]) -> list[str]:
    """What was asked past budget and spread, where anything was."""
    asked = [f"at most {result['per_prompt']} label(s) a prompt"] if result["per_prompt"] else []
    for name, (low, high) in result["quotas"].items():
        asked.append(f"{name} {low:g} to {high:g}" if high is not None else f"{name} {low:g} or more")
    if result["generator_share"]:
        asked.append(f"no generator in more than {result['generator_share']:.0%} of the labels")
    if result["max_length_difference"]:
        asked.append(f"mean |log length difference| at most {result['max_length_difference']:g}")
    if result["cost"]:
        asked.append(f"cost ({result['cost']}) {result['cost_total']:g} of {result['budget']:g}")
    return ["; ".join(asked)] if asked else []
