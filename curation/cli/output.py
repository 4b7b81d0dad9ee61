"""How the command line speaks: JSON or lines on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.run.report import Report

_EVERY = 30.0  # seconds between two lines of progress where there is no terminal


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
    """What tells how far work is: on a terminal one line that changes, elsewhere a line every half minute and the last.

    Called with done, total and seconds so far.
    """
    told = 0.0

    def show(done: int, total: int, seconds: float) -> None:
        nonlocal told
        if sys.stderr.isatty():
            say_inline(_progress(done, total, seconds, what))
        elif done == total or not 0 <= seconds - told < _EVERY:
            told = seconds
            say(_progress(done, total, seconds, what))

    return show


def _progress(done: int, total: int, seconds: float, what: str) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    left = f"{(total - done) / rate:.0f} s left" if rate > 0 else "time left unknown"
    speed = f"{rate:.0f}/s" if rate >= 10 or not rate else f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
    return f"{done}/{total} {what}, {speed}, {left}"


def say_inline(text: str) -> None:
    print("\r" + text.ljust(60), end="", file=sys.stderr, flush=True)


def solve_lines(told: Report, attained: float, out: str | None = None) -> list[str]:
    """What `solve` and `compare` say on a screen. attained: from no labels to the bound. out: the batch folder, where
    one was written."""
    lines = [
        f"{told.selected_labels} labels on {told.selected_pairs} of {told.pairs} pairs "
        f"({told.prompts} prompts), spread {told.spread}, Fisher {told.fisher}, d = {told.dim}",
        f"criterion of the batch {told.realised:.6g}, best possible at least {told.lower_bound:.6g}: "
        f"{attained:.1%} of the way there from no labels; design gap {told.gap:.1e}, open {told.open:.1e}, "
        f"{told.passes} passes, {told.seconds['solve']:.2f} s on {told.device}",
        *_limit_lines(told),
        *([f"goes on from {told.previous_labels} labels of earlier batches"] if told.previous_labels else []),
        *_learnt_lines(told, out or "THIS BATCH"),
        "the criterion measures what labels can identify; it is not the reward",
        told.length.sentence(),
        *told.notes,
    ]
    for name, value in told.baselines.items():
        shown = "left out" if value is None else f"{value:.6g} ({value / told.realised:.2f} x the batch)"
        lines.append(f"  {name:<20} {shown}")
    return [*lines, f"written to {out}"] if out else lines


def _learnt_lines(told: Report, folder: str) -> list[str]:
    """What earlier labels said, and what a pilot is for."""
    lines = []
    if told.learnt:
        lines += [*told.learnt.learnt.sentences(), *told.learnt.next.words]
    if told.pilot:
        now, whole = told.pilot.labels, told.pilot.of
        lines.append(
            f"a pilot: {now:g} of {whole:g}. Next: label it, `import-labels {folder} FILE`, then `solve ... --previous "
            f"{folder} --budget {whole - now:g}` spends the rest by what the labels say"
        )
    return lines


def _limit_lines(told: Report) -> list[str]:
    """What was asked past budget and spread, where anything was."""
    asked = [f"at most {told.per_prompt} label(s) a prompt"] if told.per_prompt else []
    for name, (low, high) in told.quotas.items():
        asked.append(f"{name} {low:g} to {high:g}" if high is not None else f"{name} {low:g} or more")
    if told.generator_share:
        asked.append(f"no generator in more than {told.generator_share:.0%} of the labels")
    if told.max_length_difference:
        asked.append(f"mean |log length difference| at most {told.max_length_difference:g}")
    if told.cost:
        asked.append(f"cost ({told.cost}) {told.cost_total:g} of {told.budget:g}")
    return ["; ".join(asked)] if asked else []
