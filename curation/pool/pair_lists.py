"""Pins and exclusions: CSV files that name pairs, responses or whole prompts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from curation.errors import PoolError
from curation.pool.schema import Pool, pair_id

LocalPair = tuple[int, int, int]  # prompt number, then the two candidates, first before second


def admissible_pairs(pool: Pool, prompt: int) -> Iterator[LocalPair]:
    """Every pair of a prompt that may be compared."""
    entry = pool.prompts[prompt]
    pairs = combinations(range(len(entry.responses)), 2) if entry.pairs is None else entry.pairs
    return ((prompt, i, j) for i, j in pairs)


def read_pair_list(path: str | Path, pool: Pool) -> list[LocalPair]:
    """Pairs named by a CSV: `pair_id`, or `prompt_id` with no, one or two of response_a_id and response_b_id.

    Raises PoolError naming the line where a name is unknown or the two responses may not be compared.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        raise PoolError(f"{path} does not exist; give a CSV with pair_id, or prompt_id and response ids.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PoolError(f"{path} is not a UTF-8 CSV ({error}); save it as UTF-8 comma-separated text.") from None
    if not rows:
        raise PoolError(f"{path} has no rows; give a CSV with a header and pair_id, or prompt_id and response ids.")
    columns = set(rows[0])
    if "pair_id" not in columns and "prompt_id" not in columns:
        raise PoolError(f"{path} has columns {sorted(columns)}; it needs pair_id, or prompt_id and response ids.")
    by_prompt = {prompt.prompt_id: number for number, prompt in enumerate(pool.prompts)}
    wanted = {(row.get("pair_id") or "").strip() for row in rows} - {""}
    by_id = pairs_by_id(pool, wanted) if wanted else {}
    found: list[LocalPair] = []
    for line, row in enumerate(rows, start=2):
        found.extend(_row_pairs(row, f"{path} line {line}", pool, by_prompt, by_id))
    return sorted(set(found))


def pair_list_csv(pairs: Sequence[tuple[str, str, str]]) -> str:
    """A list that `read_pair_list` reads, of (prompt_id, response_a_id, response_b_id)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt_id", "response_a_id", "response_b_id"])
    writer.writerows(pairs)
    return text.getvalue()


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
    row: dict[str, str], place: str, pool: Pool, by_prompt: dict[str, int], by_id: dict[str, LocalPair]
) -> list[LocalPair]:
    key = (row.get("pair_id") or "").strip()
    if key:
        if key not in by_id:
            raise PoolError(f"{place}: pair_id {key!r} is not a pair of this pool; check that the pool is the same.")
        return [by_id[key]]
    prompt_id = (row.get("prompt_id") or "").strip()
    if prompt_id not in by_prompt:
        raise PoolError(f"{place}: prompt_id {prompt_id!r} is not in this pool.")
    number = by_prompt[prompt_id]
    names = [response.response_id for response in pool.prompts[number].responses]
    given = [
        value.strip()
        for value in (row.get("response_a_id") or row.get("response_id") or "", row.get("response_b_id") or "")
        if value.strip()
    ]
    for name in given:
        if name not in names:
            raise PoolError(f"{place}: response_id {name!r} is not a response of prompt {prompt_id!r}.")
    numbers = {names.index(name) for name in given}
    hits = [pair for pair in admissible_pairs(pool, number) if numbers <= set(pair[1:])]
    if not hits:
        raise PoolError(f"{place}: {given} may not be compared in prompt {prompt_id!r} (no such pair in the pool).")
    return hits
