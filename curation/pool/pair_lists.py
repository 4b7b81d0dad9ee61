"""Pins and exclusions: CSV files that name pairs, responses or whole prompts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from curation.errors import PoolError
from curation.pool.files.text_tables import read_table
from curation.pool.schema import Pool, pair_id

LIST_MOST = 1 << 30  # bytes
LocalPair = tuple[int, int, int]  # prompt number, then the two candidates, first before second


def admissible_pairs(pool: Pool, prompt: int) -> Iterator[LocalPair]:
    """Every pair of a prompt that may be compared."""
    entry = pool.prompts[prompt]
    pairs = combinations(range(len(entry.responses)), 2) if entry.pairs is None else entry.pairs
    return ((prompt, i, j) for i, j in pairs)


def read_pair_list(path: str | Path, pool: Pool) -> list[LocalPair]:
    """Pairs named by a CSV: `pair_id`, or `prompt_id` with no, one or two of response_a_id and response_b_id.

    Raises PoolError naming the line where a name is unknown or the two responses may not be compared. It never says
    what stands in the file: an address can name a file that is no list, and be somebody else's.
    """
    path = Path(path)
    rows = _rows(path)
    by_prompt = {prompt.prompt_id: number for number, prompt in enumerate(pool.prompts)}
    wanted = {(row.get("pair_id") or "").strip() for _, row in rows} - {""}
    by_id = pairs_by_id(pool, wanted) if wanted else {}
    found: list[LocalPair] = []
    for where, row in rows:
        found.extend(_row_pairs(row, f"{path} {where}", pool, by_prompt, by_id))
    return sorted(set(found))


def _rows(path: Path) -> list[tuple[str, dict[str | None, str]]]:
    """The place of each row ("line 3"), and the row. Raises PoolError."""
    remedy = "give a UTF-8 CSV with a header and pair_id, or prompt_id and response ids"
    columns, rows = read_table(path, most=LIST_MOST, error=PoolError, remedy=remedy)
    if columns and not {"pair_id", "prompt_id"} & set(columns):
        raise PoolError(f"{path} has no column pair_id and none prompt_id, so it is no list of pairs; {remedy}.")
    for place, row in rows:
        if None in row:
            raise PoolError(f"{path} {place} has more cells than the header; {remedy}.")
    if not rows:
        raise PoolError(f"{path} has no rows; {remedy}.")
    return rows


def pair_list_csv(pairs: Sequence[tuple[str, str, str]]) -> str:
    """A list that `read_pair_list` reads, of (prompt_id, response_a_id, response_b_id)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt_id", "response_a_id", "response_b_id"])
    writer.writerows(pairs)
    return text.getvalue()


def named_pair(pool: Pool, pair: LocalPair) -> tuple[str, str, str]:
    """(prompt_id, response_a_id, response_b_id) of a pair."""
    prompt = pool.prompts[pair[0]]
    return prompt.prompt_id, prompt.responses[pair[1]].response_id, prompt.responses[pair[2]].response_id


def pairs_by_id(pool: Pool, wanted: set[str]) -> dict[str, LocalPair]:
    """The pairs of a pool by their ids; ids that are no pair of it are left out."""
    found = {}
    for number, prompt in enumerate(pool.prompts):
        for _, i, j in admissible_pairs(pool, number):
            key = pair_id(prompt.prompt_id, prompt.responses[i].response_id, prompt.responses[j].response_id)
            if key in wanted:
                found[key] = (number, i, j)
    return found


def _row_pairs(
    row: dict[str | None, str], place: str, pool: Pool, by_prompt: dict[str, int], by_id: dict[str, LocalPair]
) -> list[LocalPair]:
    key = (row.get("pair_id") or "").strip()
    if key:
        if key not in by_id:
            raise PoolError(f"{place}: its pair_id is not a pair of this pool; check that the pool is the same.")
        return [by_id[key]]
    prompt_id = (row.get("prompt_id") or "").strip()
    if prompt_id not in by_prompt:
        raise PoolError(f"{place}: its prompt_id is not in this pool; check that the pool is the same.")
    number = by_prompt[prompt_id]
    names = [response.response_id for response in pool.prompts[number].responses]
    given = [
        value.strip()
        for value in (row.get("response_a_id") or row.get("response_id") or "", row.get("response_b_id") or "")
        if value.strip()
    ]
    for name in given:
        if name not in names:
            raise PoolError(f"{place}: a response id is not one of prompt {prompt_id!r}; check it.")
    numbers = {names.index(name) for name in given}
    hits = [pair for pair in admissible_pairs(pool, number) if numbers <= set(pair[1:])]
    if not hits:
        raise PoolError(f"{place}: its responses may not be compared in prompt {prompt_id!r}; take the row out.")
    return hits
