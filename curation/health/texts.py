"""What is wrong with a pool's texts: findings of `check` and of the Pool page, before any feature is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from curation.health.across_prompts import across_prompts
from curation.health.entries import ENOUGH, EXAMPLES, Entry, mostly
from curation.health.finding import Finding, Severity
from curation.health.foregone import foregone_finding
from curation.health.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.pool.checks import NEAR, PoolReport
from curation.pool.schema import Pool, Response, prompt_text

LONGEST = 0.95  # quantile of a generator's lengths from which an ending without a stop counts as cut off
MANY = 0.05  # share of such a generator's answers from which a note becomes a warning
EXCLUDE = "Exclude these pairs (`check --exclude-out FILE`, then `solve --exclude FILE`)"
_ENDS = frozenset("stop eos eos_token end_turn stop_sequence".split())  # what generators call an end of their own


def text_findings(pool: Pool, report: PoolReport) -> list[Finding]:
    """Findings from texts and ids alone, what wastes labels first. report: `pool_report` of the same pool."""
    entries = [(prompt, response) for prompt in pool.prompts for response in prompt.responses]
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
        _zero_characters(pool),
        foregone_finding(pool),
        *across_prompts(pool),
    ]  # fmt: skip
    order = {"warning": 0, "note": 1}
    return sorted((finding for finding in found if finding is not None), key=lambda finding: order[finding.severity])


def duplicate_pairs(report: PoolReport) -> list[tuple[str, str, str]]:
    """(prompt_id, response_a, response_b) of pairs that nobody can decide: equal or nearly equal texts."""
    return [*report.identical_pairs, *((x, a, b) for x, a, b, _ in report.near_duplicates)]


@dataclass(frozen=True)
class NamedText:
    """One text that a finding names. label: its ids and generator in words."""

    label: str
    text: str

    def excerpt(self, longest: int = 4000) -> str:
        """The text, or its beginning and its end, `longest` characters in all, with what was left out counted."""
        if len(self.text) <= longest:
            return self.text
        half = longest // 2
        return f"{self.text[:half]}\n[... {len(self.text) - 2 * half:,} characters ...]\n{self.text[-half:]}"


@dataclass(frozen=True)
class ExampleTexts:
    """The texts of one example: a prompt with the responses named, or several prompts alike."""

    prompts: tuple[NamedText, ...]
    responses: tuple[NamedText, ...]


def example_texts(pool: Pool, finding: Finding, number: int) -> ExampleTexts:
    """The texts behind `finding.examples[number]` of a finding on this pool."""
    ids = finding.examples[number]
    names = ids if finding.unit == "prompts" else ids[:1]
    entries = {prompt.prompt_id: prompt for prompt in pool.prompts if prompt.prompt_id in names}
    prompts = tuple(NamedText(f"Prompt {name}", prompt_text(entries[name].prompt)) for name in names)
    if finding.unit == "prompts" and len(ids) > 1:
        return ExampleTexts(prompts, ())
    asked = entries[ids[0]]
    wanted = ids[1:] or tuple(response.response_id for response in asked.responses[:2])  # a prompt: two of its answers
    texts = {response.response_id: response for response in asked.responses}
    responses = tuple(
        NamedText(f"Response {name}, {texts[name].generator or 'unknown generator'}", texts[name].text)
        for name in wanted
    )
    return ExampleTexts(prompts, responses)


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
    left = f"which leaves {len(pairs):,} pairs that no annotator can decide" if pairs else "but no pair compares them"
    return Finding(
        key="identical",
        severity="warning" if pairs else "note",
        title="Identical responses",
        sentence=f"{len(report.exact_duplicates):,} responses repeat an earlier response to the same prompt word for "
        f"word, {left}.",
        value=float(len(report.exact_duplicates)),
        unit="responses",
        remedy=f"{EXCLUDE}, or drop the repetitions." if pairs else "Nothing to do; dropping them saves no label.",
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


def _zero_characters(pool: Pool) -> Finding | None:
    found = [
        (p.prompt_id, *names)
        for p in pool.prompts
        if (names := [r.response_id for r in p.responses if "\0" in r.text]) or "\0" in prompt_text(p.prompt)
    ]
    if not found:
        return None
    return Finding(
        key="nul",
        severity="warning",
        title="Zero characters in texts",
        sentence=f"{len(found):,} of {len(pool.prompts):,} prompts hold the character U+0000 in a text, which "
        "labelling tools with a PostgreSQL database refuse and spreadsheets cut off.",
        value=float(len(found)),
        unit="prompts",
        remedy="Take the character out of the pool before a batch is made of it: the texts are part of the batch.",
        examples=tuple(found[:EXAMPLES]),
    )


def _cut_off(entries: Sequence[Entry]) -> Finding | None:
    lengths: dict[str | None, list[int]] = defaultdict(list)
    for _, response in entries:
        lengths[response.generator].append(len(response.text))
    long = {
        name: float(np.quantile(values, LONGEST)) if len(values) >= ENOUGH else np.inf
        for name, values in lengths.items()
    }
    told = [entry for entry in entries if stopped_by_length(entry[1].meta)]
    seen = [
        (prompt, response)
        for prompt, response in entries
        if not _end_recorded(response)
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
        f"{mostly(found, entries)[0]}",
        value=float(len(found)),
        unit="responses",
        remedy="Generate them again with a higher token limit, or drop them: annotators prefer any whole answer.",
        examples=tuple((p.prompt_id, r.response_id) for p, r in found[:EXAMPLES]),
    )


def _end_recorded(response: Response) -> bool:
    """Whether the generator recorded why it stopped: then its text need not be judged."""
    ended = {
        str(response.meta.get(key, "")).strip().lower() for key in ("finish_reason", "stop_reason", "finishReason")
    }
    return bool(ended & _ENDS) or stopped_by_length(response.meta)


def _named(
    entries: Sequence[Entry],
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
    outstanding, rate = mostly(found, entries)
    return Finding(
        key=key,
        severity="warning" if rate >= MANY else severity,
        title=title[0].upper() + title[1:],
        sentence=f"{len(found):,} of {len(entries):,} responses {words}.{outstanding}",
        value=float(len(found)),
        unit="responses",
        remedy=remedy,
        examples=tuple((p.prompt_id, r.response_id) for p, r in found[:EXAMPLES]),
    )
