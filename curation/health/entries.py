"""The texts that a finding is about, and whose they mostly are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from curation.pool.schema import Prompt, Response

EXAMPLES = 200  # ids listed with a finding
CANNED = 0.1  # share of the prompts that one text answers, from which it is a warning
Entry = tuple[Prompt, Response]
ENOUGH = 20  # responses of a generator from which its own rates mean something
OFTEN = 3.0  # times the others' rate that makes a generator stand out


def mostly(found: Sequence[Entry], entries: Sequence[Entry]) -> tuple[str, float]:
    """The generator whose rate is far above that of all others together, in words, and its rate; else nothing."""
    total = Counter(response.generator for _, response in entries)
    hits = Counter(response.generator for _, response in found)
    for name, count in hits.most_common():
        others, rest = len(entries) - total[name], len(found) - count
        if name is None or total[name] < ENOUGH or count < 5 or others < ENOUGH:
            continue
        rate, usual = count / total[name], rest / others
        if rate >= OFTEN * max(usual, 1 / others):
            words = f" Generator {name} stands out: {count:,} of its {total[name]:,} ({rate:.0%}), others {usual:.1%}."
            return words, rate
    return "", 0.0
