"""What is wrong with a pool's texts: findings of `check` and of the Pool page, before any feature is made."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from curation.health.finding import Finding, Severity
from curation.health.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.pool.checks import NEAR, PoolReport, shared_texts
from curation.pool.schema import Pool, Prompt, Response, prompt_text
from curation.pool.similar import similar_groups

EXAMPLES = 200  # ids listed with a finding
SAME_PROMPT = 0.8  # Jaccard similarity of word 3-grams from which two prompts differ in a few words
RECURRING = 0.8  # the same of answers to different prompts
RECURRING_PROMPTS = 3  # prompts an answer must recur in
RECURRING_WORDS = 8  # words of an answer that may not recur: "You're welcome." may
TELLING_WORDS = 4  # words of a prompt from which nearly equal words are worth a note
CANNED = 0.1  # share of the prompts that one text answers, from which it is a warning
COMPARED = 40_000_000  # characters that are compared across prompts, at most: about 3 s and 0.4 GB
SKETCHED = 20_000  # texts that MinHash compares, at most: those that could be near another prompt's
LONGEST = 0.95  # quantile of a generator's lengths from which an ending without a stop counts as cut off
ENOUGH = 20  # responses of a generator from which its own rates mean something
OFTEN = 3.0  # times the others' rate that makes a generator stand out
MANY = 0.05  # share of such a generator's answers from which a note becomes a warning
EXCLUDE = "Exclude these pairs (`check --exclude-out FILE`, then `solve --exclude FILE`)"
# Words that change how a prompt asks and not what: articles and courtesy. No preposition, no "not", no modal verb.
_LITTLE = frozenset("a an the please kindly thanks thank hi hello hey user : . , ; ! ? ' \" ’ ‘ “ ” … – —".split())
_SIGNS = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_ENDS = frozenset("stop eos eos_token end_turn stop_sequence".split())  # what generators call an end of their own
_Entry = tuple[Prompt, Response]


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
        *_across_prompts(pool),
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


def _cut_off(entries: Sequence[_Entry]) -> Finding | None:
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
        f"{_mostly(found, entries)[0]}",
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
    outstanding, rate = _mostly(found, entries)
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


def _mostly(found: Sequence[_Entry], entries: Sequence[_Entry]) -> tuple[str, float]:
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


def _across_prompts(pool: Pool) -> Iterable[Finding]:
    """Prompts asked twice, prompts cut from one template, and answers that recur whatever was asked."""
    sizes = [len(prompt_text(prompt.prompt)) for prompt in pool.prompts]
    chosen, told = _thinned(sizes)
    texts = [prompt_text(pool.prompts[x].prompt) for x in chosen]
    alike, told_alike = _groups(texts, range(len(texts)), near=SAME_PROMPT, words=TELLING_WORDS)
    same = _same_questions(pool, chosen)
    close = [group for group in alike if not any(set(group) <= set(known) for known in same)]
    if same:
        yield _prompt_groups(
            pool,
            [[chosen[i] for i in group] for group in same],
            key="repeated_prompts",
            severity="warning",
            title="Prompts that ask the same",
            words=f"of {len(chosen):,} prompts repeat another one, letter case, punctuation and words such as "
            f'"please" aside{told}: labels on both are partly bought twice, and the question counts double.',
            remedy="Merge them into one prompt with all its candidates, or lower their prompt_weight.",
        )
    if close:
        yield _prompt_groups(
            pool,
            [[chosen[i] for i in group] for group in close],
            key="similar_prompts",
            severity="note",
            title="Prompts that differ in a few words",
            words=f"of {len(chosen):,} prompts share at least {SAME_PROMPT:.0%} of their word triples with another one"
            f"{told or told_alike}: one question in two wordings, a template with another input, or a conversation "
            "one turn further.",
            remedy="Read them: merge those that ask the same; of a template, decide how many of its prompts you want.",
        )
    owner = {chosen[i]: chosen[min(group)] for group in [*alike, *same] for i in group}  # their answers may recur
    sizes = [sum(len(response.text) for response in prompt.responses) for prompt in pool.prompts]
    chosen, told = _thinned(sizes)
    answers = [(x, r) for x in chosen for r in pool.prompts[x].responses]
    groups, told_alike = _groups(
        [r.text for _, r in answers], [owner.get(x, x) for x, _ in answers], near=RECURRING, words=RECURRING_WORDS
    )
    recurring = [[answers[i] for i in group] for group in groups]
    recurring = [group for group in recurring if len({owner.get(x, x) for x, _ in group}) >= RECURRING_PROMPTS]
    if recurring:
        recurring.sort(key=lambda group: (-len(group), group[0][0]))
        entries = [(pool.prompts[x], r) for group in recurring for x, r in group]
        most = len({x for x, _ in recurring[0]})
        what = "one text that recurs" if len(recurring) == 1 else f"{len(recurring):,} texts that recur"
        where = f"{RECURRING_PROMPTS} prompts or more{told or told_alike}"
        outstanding, _ = _mostly(entries, [(pool.prompts[x], r) for x, r in answers])
        yield Finding(
            key="boilerplate",
            severity="warning" if most >= CANNED * len(chosen) else "note",
            title="Answers that recur across prompts",
            sentence=f"{len(entries):,} responses are {what} nearly word for word in {where}; the most frequent one "
            f"answers {most:,} of {len(chosen):,} prompts.{outstanding}",
            value=float(len(entries)),
            unit="responses",
            remedy="Look at them: a canned answer fits no prompt, and one label on it says what many would.",
            examples=tuple((p.prompt_id, r.response_id) for p, r in entries[:EXAMPLES]),
        )


def _prompt_groups(
    pool: Pool, groups: Sequence[Sequence[int]], *, key: str, severity: Severity, title: str, words: str, remedy: str
) -> Finding:
    extra = sum(len(group) - 1 for group in groups)
    return Finding(
        key=key,
        severity=severity,
        title=title,
        sentence=f"{extra:,} {words}",
        value=float(extra),
        unit="prompts",
        remedy=remedy,
        examples=tuple(tuple(pool.prompts[x].prompt_id for x in group[:20]) for group in groups[:EXAMPLES]),
    )


def _same_questions(pool: Pool, chosen: Sequence[int]) -> list[list[int]]:
    """Groups of positions in `chosen` whose prompts have the same words and signs, little words left out."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, x in enumerate(chosen):
        tokens = _SIGNS.findall(prompt_text(pool.prompts[x].prompt).casefold())
        key = tuple(token for token in tokens if token not in _LITTLE)
        if len(key) >= 2:
            groups[key].append(position)
    return [group for group in groups.values() if len(group) > 1]


def _groups(texts: Sequence[str], owners: Sequence[int], *, near: float, words: int) -> tuple[list[list[int]], str]:
    """Groups of positions whose texts are nearly equal under different owners, and the words for what was left out."""
    candidates = shared_texts(texts, owners, near=near, words=words)
    told = ""
    if len(candidates) > SKETCHED:
        kept = np.sort(np.random.default_rng(0).choice(len(candidates), size=SKETCHED, replace=False))
        told = f" (in a sample of {SKETCHED:,} of {len(candidates):,} candidates)"
        candidates = [candidates[i] for i in kept]
    groups = similar_groups([texts[i] for i in candidates], near=near)
    return [[candidates[i] for i in group] for group in groups], told


def _thinned(sizes: Sequence[int]) -> tuple[list[int], str]:
    """All prompts, or a seeded sample of them of COMPARED characters with the words that say so. sizes: characters."""
    if sum(sizes) <= COMPARED:
        return list(range(len(sizes))), ""
    order = np.random.default_rng(0).permutation(len(sizes))
    fitting = int(np.searchsorted(np.cumsum(np.array(sizes)[order]), COMPARED, side="right"))
    chosen = sorted(order[: max(fitting, 2)].tolist())
    return chosen, f" (in a sample of {len(chosen):,} of {len(sizes):,} prompts)"
