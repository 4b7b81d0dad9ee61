"""What an analyst should know about a pool before paying for labels: counts, lengths, empties and duplicates."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
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
UNKNOWN = "(none given)"
# CJK characters are words of their own, since those texts have no spaces.
_CJK = "぀-ヿ㐀-鿿가-힯"
_WORD = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")


@dataclass(frozen=True)
class PoolReport:
    """Counts over a pool. Duplicates are within one prompt; a group of equal texts is listed against its first.

    candidates_per_prompt: min, median, max. characters: min, q05, q25, median, q75, q95, max, mean of the responses.
    generators: responses per generator. strata: prompts per stratum. identical_pairs: candidate pairs whose two texts
    are equal, which no annotator can decide. near_duplicates: Jaccard similarity of word 3-grams from NEAR to 1.
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
    allowed = None if prompt.pairs is None else set(prompt.pairs)
    ids = [response.response_id for response in prompt.responses]
    return [
        (prompt.prompt_id, ids[i], ids[j])
        for group in _equal_texts(prompt)
        for i, j in combinations(group, 2)
        if allowed is None or (i, j) in allowed
    ]


def near_duplicates(prompt: Prompt, *, near: float = NEAR) -> list[tuple[str, str, str, float]]:
    """(prompt_id, response_a, response_b, similarity) with similarity >= near, exact duplicates left out.

    Jaccard similarity of the sets of word 3-grams (case and punctuation ignored), exact, from one sparse product of
    the K responses; a text of fewer than three words is one gram. Texts without any word are never near another.
    """
    grams = [words_of(response.text) for response in prompt.responses]
    incidence = _incidence(grams)
    if incidence is None:
        return []
    sizes = np.asarray(incidence.sum(axis=1)).ravel()
    shared = sparse.triu(incidence @ incidence.T, k=1).tocoo()
    similarity = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    found = []
    for index in np.flatnonzero(similarity >= near):
        a, b = prompt.responses[shared.row[index]], prompt.responses[shared.col[index]]
        if a.text != b.text:
            found.append((int(shared.row[index]), int(shared.col[index]), float(similarity[index])))
    return [
        (prompt.prompt_id, prompt.responses[i].response_id, prompt.responses[j].response_id, value)
        for i, j, value in sorted(found)
    ]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; CJK characters are words of their own."""
    return _WORD.findall(text.lower())


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
