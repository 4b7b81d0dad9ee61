"""Texts that recur across prompts: nearly equal questions, answers given to many of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from curation.health.entries import CANNED, EXAMPLES, mostly
from curation.health.finding import Finding, Severity
from curation.pool.checks import shared_texts
from curation.pool.schema import Pool, prompt_text
from curation.pool.similar import similar_groups

SAME_PROMPT = 0.8  # Jaccard similarity of word 3-grams from which two prompts differ in a few words
RECURRING = 0.8  # the same of answers to different prompts
RECURRING_PROMPTS = 3  # prompts an answer must recur in
RECURRING_WORDS = 8  # words of an answer that may not recur: "You're welcome." may
TELLING_WORDS = 4  # words of a prompt from which nearly equal words are worth a note
COMPARED = 40_000_000  # characters that are compared across prompts, at most: about 3 s and 0.4 GB
SKETCHED = 20_000  # texts that MinHash compares, at most: those that could be near another prompt's


# Words that change how a prompt asks and not what: articles and courtesy. No preposition, no "not", no modal verb.
_LITTLE = frozenset("a an the please kindly thanks thank hi hello hey user : . , ; ! ? ' \" ’ ‘ “ ” … – —".split())
_SIGNS = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def across_prompts(pool: Pool) -> Iterable[Finding]:
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
        outstanding, _ = mostly(entries, [(pool.prompts[x], r) for x, r in answers])
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
