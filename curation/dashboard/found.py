"""What a page found, in the sentence that it opens with."""

from __future__ import annotations

from collections.abc import Sequence

from curation.backtest.run import Result
from curation.health.finding import Finding
from curation.insight.luck import Draws


def pool_sentence(
    prompts: int, responses: int, pairs: int, *, rejects: int = 0, findings: Sequence[Finding] | None = None
) -> str:
    """What a pool offers, whether all of it could be read, and what in it would waste labels.

    findings: None while they are still looked for.
    """
    read = "every row could be read" if not rejects else f"{rejects:,} rows could not be read and are left out"
    offers = f"{prompts:,} prompts with {responses:,} responses offer {pairs:,} pairs to choose from; {read}."
    if findings is None:
        return offers
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if not findings:
        return f"{offers} Nothing in the texts would waste labels."
    worst = (warnings or list(findings))[0]
    things = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
    of_them = f", {len(warnings)} of them serious" if 0 < len(warnings) < len(findings) else ""
    first = worst.title[:1].lower() + worst.title[1:]
    return f"{offers} {things} in the texts would waste labels{of_them}; first: {first}."


def evidence_sentence(result: Result | None, draws: Draws, *, testable: bool) -> str:
    """The verdict of a backtest; where there is none, that nothing was tested, and what the criterion alone says."""
    if result is not None:
        return result.verdict
    why = (
        "The pool has known outcomes, and the backtest on them, below, has not been run."
        if testable
        else "The pool carries no outcomes to test on: buy a small pilot before a large batch."
    )
    better = 1 - draws.worse
    return (
        f"Not tested on outcomes: whether choosing pairs pays here is not known. {why} In the criterion alone, a drawn "
        f"batch of this design beats a uniform one in {better:.0%} of the draws."
    )
