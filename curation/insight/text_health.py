"""What is wrong with a pool's texts: findings of `check` and of the Pool page, before any feature is made."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from curation.insight.health import Finding, Severity
from curation.insight.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.pool.checks import NEAR, PoolReport, words_of
from curation.pool.schema import Pool, Prompt, Response, prompt_text
from curation.pool.similar import similar_groups

EXAMPLES = 200  # ids listed with a finding
SAME_PROMPT = 0.8  # Jaccard similarity from which two prompts ask the same
RECURRING = 0.8  # the same of answers to different prompts
RECURRING_PROMPTS = 3  # prompts an answer must recur in
RECURRING_WORDS = 8  # words of an answer that may not recur: "Yes." may
CANNED = 0.1  # share of the prompts that one text answers, from which it is a warning
SKETCHED = 40_000  # texts that are compared across prompts, at most
LONGEST = 0.95  # quantile of a generator's lengths from which an ending without a stop counts as cut off
ENOUGH = 20  # responses of a generator from which its own rates mean something
OFTEN = 3.0  # times the others' rate that makes a generator stand out
EXCLUDE = "Exclude these pairs (`check --exclude-out FILE`, then `solve --exclude FILE`)"
_Entry = tuple[Prompt, Response]


def text_findings(pool: Pool, report: PoolReport) -> list[Finding]:
    """Findings from texts and ids alone, what wastes labels first. report: `pool_report` of the same pool."""
    entries = [(prompt, response) for prompt in pool.prompts for response in prompt.responses]
    broken = {id(r) for _, r in entries if not r.text.strip()}
    found = [
        _near_duplicates(report),
        _identical(report),
        _one_answer(pool),
        _empty(report),
        _empty_prompts(report),
        _cut_off(entries),
        _named(entries, loops, "repeating", "warning", "answers repeat themselves",
               "repeat the same words over and over, as a generation that has lost its way does",
               "Drop them: a label on one says only that it is broken."),
        _named(entries, refuses, "refusals", "note", "refusals",
               "begin as a refusal does (English phrases only)",
               "Keep them where refusing is what the labels are about; otherwise drop them, or set quotas by stratum."),
        *_across_prompts(pool, broken),
    ]  # fmt: skip
    order = {"warning": 0, "note": 1}
    return sorted((finding for finding in found if finding is not None), key=lambda finding: order[finding.severity])


def duplicate_pairs(report: PoolReport) -> list[tuple[str, str, str]]:
    """(prompt_id, response_a, response_b) of pairs that nobody can decide: equal or nearly equal texts."""
    return [*report.identical_pairs, *((x, a, b) for x, a, b, _ in report.near_duplicates)]


def _near_duplicates(report: PoolReport) -> Finding | None:
    if not report.near_duplicates:
        return None
    worst = sorted(report.near_duplicates, key=lambda row: (-row[3], row[:3]))
    prompts = len({row[0] for row in worst})
    return Finding(
        key="near_duplicates",
        severity="warning",
        title="Near-duplicate responses",
        sentence=f"{len(worst):,} pairs of responses to the same prompt, in {prompts:,} prompts, share at least "
        f"{NEAR:.0%} of their word triples: comparing them teaches next to nothing.",
        value=float(len(worst)),
        unit="pairs",
        remedy=f"{EXCLUDE}, or drop one of each.",
        examples=tuple((x, a, b) for x, a, b, _ in worst[:EXAMPLES]),
    )


def _identical(report: PoolReport) -> Finding | None:
    if not report.exact_duplicates:
        return None
    pairs = report.identical_pairs
    return Finding(
        key="identical",
        severity="warning",
        title="Identical responses",
        sentence=f"{len(report.exact_duplicates):,} responses repeat an earlier response to the same prompt word for "
        f"word, which leaves {len(pairs):,} pairs that no annotator can decide.",
        value=float(len(report.exact_duplicates)),
        unit="responses",
        remedy=f"{EXCLUDE}, or drop the repetitions.",
        examples=tuple(report.exact_duplicates[:EXAMPLES]),
    )


def _one_answer(pool: Pool) -> Finding | None:
    same = [p.prompt_id for p in pool.prompts if len({r.text.strip() for r in p.responses}) == 1]
    if not same:
        return None
    return Finding(
        key="one_answer",
        severity="warning",
        title="Prompts with one distinct answer",
        sentence=f"{len(same):,} of {len(pool.prompts):,} prompts have one and the same answer from every candidate: "
        "no pair of theirs can be decided.",
        value=float(len(same)),
        unit="prompts",
        remedy="Generate more diverse candidates for them (a higher temperature, another model), or drop them.",
        examples=tuple((x,) for x in same[:EXAMPLES]),
    )


def _empty(report: PoolReport) -> Finding | None:
    if not report.empty_responses:
        return None
    return Finding(
        key="empty",
        severity="warning",
        title="Empty responses",
        sentence=f"{len(report.empty_responses):,} of {report.responses:,} responses are empty. They stand far from "
        "every other answer, so a design is drawn to them.",
        value=float(len(report.empty_responses)),
        unit="responses",
        remedy="Drop them, unless an empty answer is one that the model may give.",
        examples=tuple(report.empty_responses[:EXAMPLES]),
    )


def _empty_prompts(report: PoolReport) -> Finding | None:
    if not report.empty_prompts:
        return None
    return Finding(
        key="empty_prompts",
        severity="warning",
        title="Empty prompts",
        sentence=f"{len(report.empty_prompts):,} of {report.prompts:,} prompts are empty: annotators cannot tell which "
        "answer is better.",
        value=float(len(report.empty_prompts)),
        unit="prompts",
        remedy="Drop them, or mend the export that lost their text.",
        examples=tuple((x,) for x in report.empty_prompts[:EXAMPLES]),
    )


def _cut_off(entries: Sequence[_Entry]) -> Finding | None:
    lengths: dict[str | None, list[int]] = defaultdict(list)
    for _, response in entries:
        lengths[response.generator].append(len(response.text))
    long = {
        name: float(np.quantile(values, LONGEST)) if len(values) >= ENOUGH else np.inf
        for name, values in lengths.items()
    }
    told = [entry for entry in entries if stopped_by_length(entry[1].meta)]
    known = {id(response) for _, response in told}
    seen = [
        (prompt, response)
        for prompt, response in entries
        if id(response) not in known
        and (
            ends_openly(response.text)
            or (len(response.text) >= long[response.generator] and ends_without_stop(response.text))
        )
    ]
    found = [*told, *seen]
    if not found:
        return None
    how = [f"{len(told):,} by their generator's own record"] if told else []
    how += [f"{len(seen):,} because they stop inside a sentence or a code block"] if seen else []
    return Finding(
        key="cut_off",
        severity="warning",
        title="Answers that were cut off",
        sentence=f"{len(found):,} of {len(entries):,} responses were cut off: {' and '.join(how)}."
        f"{_mostly(found, entries)}",
        value=float(len(found)),
        unit="responses",
        remedy="Generate them again with a higher token limit, or drop them: annotators prefer any whole answer.",
        examples=tuple((p.prompt_id, r.response_id) for p, r in found[:EXAMPLES]),
    )


def _named(
    entries: Sequence[_Entry],
    rule: Callable[[str], bool],
    key: str,
    severity: Severity,
    title: str,
    words: str,
    remedy: str,
) -> Finding | None:
    """A finding of a rule on single texts, with the generator that stands out."""
    found = [entry for entry in entries if rule(entry[1].text)]
    if not found:
        return None
    outstanding = _mostly(found, entries)
    return Finding(
        key=key,
        severity="warning" if outstanding else severity,
        title=title[0].upper() + title[1:],
        sentence=f"{len(found):,} of {len(entries):,} responses {words}.{outstanding}",
        value=float(len(found)),
        unit="responses",
        remedy=remedy,
        examples=tuple((p.prompt_id, r.response_id) for p, r in found[:EXAMPLES]),
    )


def _mostly(found: Sequence[_Entry], entries: Sequence[_Entry]) -> str:
    """The generator whose rate is far above that of all others together, in words; else nothing."""
    total = Counter(response.generator for _, response in entries)
    hits = Counter(response.generator for _, response in found)
    for name, count in hits.most_common():
        others, rest = len(entries) - total[name], len(found) - count
        if name is None or total[name] < ENOUGH or count < 5 or others < ENOUGH:
            continue
        rate, usual = count / total[name], rest / others
        if rate >= OFTEN * max(usual, 1 / others):
            return f" Generator {name} stands out: {count:,} of its {total[name]:,} ({rate:.0%}), others {usual:.1%}."
    return ""


def _across_prompts(pool: Pool, broken: set[int]) -> Iterable[Finding | None]:
    """Prompts asked twice, and answers that recur whatever was asked."""
    prompts, skipped = _thinned(range(len(pool.prompts)))
    same = similar_groups([prompt_text(pool.prompts[x].prompt) for x in prompts], near=SAME_PROMPT)
    if same:
        groups = [[pool.prompts[prompts[i]].prompt_id for i in group] for group in same]
        extra = sum(len(group) - 1 for group in groups)
        yield Finding(
            key="repeated_prompts",
            severity="warning",
            title="Prompts that ask the same",
            sentence=f"{extra:,} of {len(prompts):,} prompts repeat another one nearly word for word{skipped}: labels "
            "on both are partly bought twice, and the same question counts double.",
            value=float(extra),
            unit="prompts",
            remedy="Merge them into one prompt with all its candidates, or lower their prompt_weight.",
            examples=tuple(tuple(group[:20]) for group in groups[:EXAMPLES]),
        )
    answers = [
        (x, response)
        for x, prompt in enumerate(pool.prompts)
        for response in prompt.responses
        if id(response) not in broken and len(words_of(response.text)) >= RECURRING_WORDS
    ]
    chosen, skipped = _thinned(range(len(answers)))
    copied = {frozenset(group) for group in same} if not skipped else set()
    twin = {i: min(group) for group in copied for i in group}  # answers to a repeated prompt recur of themselves
    recurring = []
    for group in similar_groups([answers[i][1].text for i in chosen], near=RECURRING):
        owners = {twin.get(answers[chosen[i]][0], answers[chosen[i]][0]) for i in group}
        if len(owners) >= RECURRING_PROMPTS:
            recurring.append(sorted((answers[chosen[i]] for i in group), key=lambda entry: entry[0]))
    if recurring:
        recurring.sort(key=len, reverse=True)
        count, most = sum(map(len, recurring)), len({x for x, _ in recurring[0]})
        yield Finding(
            key="boilerplate",
            severity="warning" if most >= CANNED * len(pool.prompts) else "note",
            title="Answers that recur across prompts",
            sentence=f"{count:,} responses are one of {len(recurring):,} texts that recur in {RECURRING_PROMPTS} "
            f"prompts or more{skipped}; the most frequent answers {most:,} of {len(pool.prompts):,} prompts.",
            value=float(count),
            unit="responses",
            remedy="Look at them: a canned answer fits no prompt, and one label on it says what many would.",
            examples=tuple(
                (pool.prompts[x].prompt_id, response.response_id) for group in recurring for x, response in group
            )[:EXAMPLES],
        )


def _thinned(numbers: range) -> tuple[list[int], str]:
    """All numbers, or a seeded sample of SKETCHED with the words that say so."""
    if len(numbers) <= SKETCHED:
        return list(numbers), ""
    chosen = np.sort(np.random.default_rng(0).choice(len(numbers), size=SKETCHED, replace=False)).tolist()
    return chosen, f" (in a sample of {SKETCHED:,} of {len(numbers):,})"
