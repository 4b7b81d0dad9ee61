"""What an analyst should know about a pool before paying for labels: counts, lengths, empties and duplicates."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from curation.errors import PoolError
from curation.pool.schema import Pool, Prompt

NEAR = 0.6  # a few words changed in a text of 60 words leave about this much
SHINGLE = 3
FEW = 12  # responses up to which plain sets are quicker than a sparse product
UNKNOWN = "(none given)"
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits evenly mixed
_PARTS = 4
# CJK characters are words of their own, since those texts have no spaces.
_CJK = "぀-ヿ㐀-鿿가-힯"
_WORD = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")


@dataclass(frozen=True)
class PoolReport:
    """Counts over a pool. Duplicates are within one prompt; a group of equal texts is listed against its first.

    candidates_per_prompt: min, median, max. characters: min, q05, q25, median, q75, q95, max, mean of the responses.
    generators: responses per generator. strata: prompts per stratum. identical_pairs: candidate pairs whose two texts
    are equal, which no annotator can decide. near_duplicates: candidate pairs, Jaccard similarity of word 3-grams from
    NEAR to 1. Both lists can be excluded as they are: they name no pair that the pool does not offer.
    """

    prompts: int
    responses: int
    pairs: int
    candidates_per_prompt: dict[str, float]
    characters: dict[str, float]
    generators: dict[str, int]
    strata: dict[str, int]
    empty_prompts: list[str]
    empty_responses: list[tuple[str, str]]
    exact_duplicates: list[tuple[str, str, str]]
    near_duplicates: list[tuple[str, str, str, float]]
    identical_pairs: list[tuple[str, str, str]]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        lists = {key: [list(item) for item in getattr(self, key)] for key in _TUPLE_LISTS}
        return {**asdict(self), **lists}


_TUPLE_LISTS = ("empty_responses", "exact_duplicates", "near_duplicates", "identical_pairs")


def pool_report(pool: Pool, *, near: float = NEAR) -> PoolReport:
    """Everything the Pool page and `check` tell about a pool. Raises PoolError for a pool without responses."""
    if not pool.n_responses:
        raise PoolError(f"the pool {pool.name!r} has no responses; nothing can be reported.")
    responses = [(prompt, response) for prompt in pool.prompts for response in prompt.responses]
    counts = [len(prompt.responses) for prompt in pool.prompts]
    return PoolReport(
        prompts=len(pool.prompts),
        responses=pool.n_responses,
        pairs=pool.n_pairs,
        candidates_per_prompt={
            "min": float(min(counts)),
            "median": float(np.median(counts)),
            "max": float(max(counts)),
        },
        characters=_character_quantiles(pool.lengths()),
        generators=_counted(response.generator for _, response in responses),
        strata=_counted(pool.strata()),
        empty_prompts=[prompt.prompt_id for prompt in pool.prompts if not _says_something(prompt)],
        empty_responses=[(p.prompt_id, r.response_id) for p, r in responses if not r.text.strip()],
        exact_duplicates=[item for prompt in pool.prompts for item in exact_duplicates(prompt)],
        near_duplicates=[item for prompt in pool.prompts for item in near_duplicates(prompt, near=near)],
        identical_pairs=[item for prompt in pool.prompts for item in identical_pairs(prompt)],
    )


def exact_duplicates(prompt: Prompt) -> list[tuple[str, str, str]]:
    """(prompt_id, first response, later response of the same text), one entry per repetition."""
    return [
        (prompt.prompt_id, prompt.responses[group[0]].response_id, prompt.responses[later].response_id)
        for group in _equal_texts(prompt)
        for later in group[1:]
    ]


def identical_pairs(prompt: Prompt) -> list[tuple[str, str, str]]:
    """(prompt_id, response_a, response_b) of the candidate pairs whose texts are equal."""
    offered = _offered(prompt)
    ids = [response.response_id for response in prompt.responses]
    return [
        (prompt.prompt_id, ids[i], ids[j])
        for group in _equal_texts(prompt)
        for i, j in combinations(group, 2)
        if offered is None or (i, j) in offered
    ]


def near_duplicates(prompt: Prompt, *, near: float = NEAR) -> list[tuple[str, str, str, float]]:
    """(prompt_id, response_a, response_b, similarity) of candidate pairs from `near`, equal texts left out.

    Jaccard similarity of the sets of word 3-grams (case and punctuation ignored), exact: from the sets themselves for
    up to FEW responses, else from one sparse product of all K. A text of fewer than three words is one gram. Texts
    without any word are never near another.
    """
    offered = _offered(prompt)
    words = [words_of(response.text) for response in prompt.responses]
    ids = [response.response_id for response in prompt.responses]
    return [
        (prompt.prompt_id, ids[i], ids[j], value)
        for i, j, value in (_few_similar(words, near) if len(words) <= FEW else _similar(words, near))
        if prompt.responses[i].text != prompt.responses[j].text and (offered is None or (i, j) in offered)
    ]


def _offered(prompt: Prompt) -> set[tuple[int, int]] | None:
    return None if prompt.pairs is None else set(prompt.pairs)


def _few_similar(texts: list[list[str]], near: float) -> list[tuple[int, int, float]]:
    """Pairs of a few texts and their similarity, where it is at least `near`."""
    grams = [
        {tuple(words)} if 0 < len(words) < SHINGLE else set(zip(*(words[n:] for n in range(SHINGLE)), strict=False))
        for words in texts
    ]
    found = []
    for i, j in combinations(range(len(grams)), 2):
        small, large = sorted((len(grams[i]), len(grams[j])))
        if not small or small < near * large:
            continue
        shared = len(grams[i] & grams[j])
        similarity = shared / (small + large - shared)
        if similarity >= near:
            found.append((i, j, similarity))
    return found


def _similar(texts: list[list[str]], near: float) -> list[tuple[int, int, float]]:
    """The same for many texts at once, in the same order."""
    incidence = _incidence(texts)
    if incidence is None:
        return []
    sizes = np.asarray(incidence.sum(axis=1)).ravel()
    shared = sparse.triu(incidence @ incidence.T, k=1).tocoo()
    similarity = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    hits = np.flatnonzero(similarity >= near)
    return sorted((int(shared.row[h]), int(shared.col[h]), float(similarity[h])) for h in hits)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; CJK characters are words of their own."""
    return _WORD.findall(text.lower())


def shared_texts(texts: Sequence[str], owners: Sequence[int], *, near: float, words: int = 1) -> list[int]:
    """Positions of the texts that can have Jaccard similarity >= near with a text of another owner, ascending.

    Those at least `near` of whose different word 3-grams also occur under another owner: the Jaccard index of two
    sets is never above the share of either that is shared, so nobody else can. owners: one number per text. Texts of
    fewer than `words` words are left out. Time and memory are linear, about 60 ns and 10 bytes per character.
    """
    vocabulary: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
    kept, rows = [], []
    for position, text in enumerate(texts):
        found = words_of(text)
        if len(found) >= max(words, 1):
            codes = np.zeros(max(len(found), SHINGLE), dtype=np.uint64)
            codes[: len(found)] = np.fromiter(map(vocabulary.__getitem__, found), dtype=np.uint64, count=len(found))
            kept.append(position)
            rows.append(codes)
    if not kept:
        return []
    place = np.repeat(np.arange(len(kept), dtype=np.int32), [len(row) for row in rows])
    flat = np.concatenate(rows)
    inside = place[: 1 - SHINGLE] == place[SHINGLE - 1 :]
    # A polynomial modulo 2^64: two 3-grams that fell together would only let a text more through.
    grams = ((flat[:-2] * _MIX + flat[1:-1]) * _MIX + flat[2:])[inside] * _MIX
    place = place[: 1 - SHINGLE][inside]
    owner = np.asarray(owners)[kept]
    total, shared = np.zeros(len(kept)), np.zeros(len(kept))
    for part in range(_PARTS):  # one after the other, for the memory that sorting takes
        mine = np.flatnonzero(grams >> np.uint64(62) == part)
        order = mine[np.argsort(grams[mine], kind="stable")]
        gram, holder = grams[order], place[order]
        once = np.ones(len(gram), dtype=bool)  # a 3-gram counts once per text
        once[1:] = (gram[1:] != gram[:-1]) | (holder[1:] != holder[:-1])
        gram, holder = gram[once], holder[once]
        starts = np.flatnonzero(np.concatenate([[True], gram[1:] != gram[:-1]])) if len(gram) else np.zeros(0, int)
        if not len(starts):
            continue
        several = np.minimum.reduceat(owner[holder], starts) != np.maximum.reduceat(owner[holder], starts)
        widths = np.diff(np.append(starts, len(gram)))
        total += np.bincount(holder, minlength=len(kept))
        shared += np.bincount(holder[np.repeat(several, widths)], minlength=len(kept))
    return [kept[i] for i in np.flatnonzero(shared >= near * total)]


def _incidence(texts: list[list[str]]) -> Any:
    """(K, grams) 0/1 matrix of which text holds which 3-gram; None when no text has a word."""
    vocabulary: dict[str, int] = {"": 0}  # 0 pads texts shorter than one gram
    owners, firsts, seconds, thirds = [], [], [], []
    for owner, words in enumerate(texts):
        if not words:
            continue
        codes = [vocabulary.setdefault(word, len(vocabulary)) for word in words]
        codes += [0] * (SHINGLE - len(codes))
        row = np.array(codes, dtype=np.int64)
        firsts.append(row[:-2])
        seconds.append(row[1:-1])
        thirds.append(row[2:])
        owners.append(np.full(len(row) - 2, owner, dtype=np.int64))
    if not owners:
        return None
    size = len(vocabulary)
    # Numbered twice rather than packed into one integer, so that no vocabulary can overflow it.
    _, bigrams = np.unique(np.concatenate(firsts) * size + np.concatenate(seconds), return_inverse=True)
    _, trigrams = np.unique(bigrams * size + np.concatenate(thirds), return_inverse=True)
    ones = np.ones(len(trigrams))
    matrix = sparse.csr_array((ones, (np.concatenate(owners), trigrams)), shape=(len(texts), int(trigrams.max()) + 1))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _equal_texts(prompt: Prompt) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, response in enumerate(prompt.responses):
        groups[response.text].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _says_something(prompt: Prompt) -> bool:
    if isinstance(prompt.prompt, str):
        return bool(prompt.prompt.strip())
    return any(message["content"].strip() for message in prompt.prompt)


def _character_quantiles(lengths: NDArray[np.float64]) -> dict[str, float]:
    names = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
    values = np.quantile(lengths, list(names.values()))
    return {**dict(zip(names, map(float, values), strict=True)), "mean": float(lengths.mean())}


def _counted(names: Any) -> dict[str, int]:
    """Most frequent first, then by name."""
    counts = Counter(UNKNOWN if name is None else name for name in names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
