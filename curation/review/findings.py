"""What is wrong with the pairs about to go out: the text findings of a batch's approved pairs, for its sign-off."""

from __future__ import annotations

from collections.abc import Iterable

from curation.batch.folder import BatchFolder
from curation.health.finding import Finding
from curation.health.texts import text_findings
from curation.pool.checks import pool_report
from curation.pool.schema import Pool, Prompt, Response


def batch_warnings(batch: BatchFolder, pair_ids: Iterable[str]) -> list[Finding]:
    """Warnings about the texts of some pairs of a batch, the worst first; notes are left to the Pool page."""
    wanted = set(pair_ids)
    texts: dict[str, tuple[object, dict[str, Response], set[tuple[str, str]]]] = {}
    for record in batch.records:
        if record["pair_id"] not in wanted:
            continue
        _, responses, pairs = texts.setdefault(record["prompt_id"], (record["prompt"], {}, set()))
        for side in ("a", "b"):
            key = record[f"response_{side}_id"]
            responses[key] = Response(key, record[f"response_{side}"], generator=record[f"generator_{side}"])
        pairs.add((record["response_a_id"], record["response_b_id"]))
    if not texts:
        return []
    prompts = []
    for prompt_id, (prompt, responses, pairs) in texts.items():
        place = {key: k for k, key in enumerate(responses)}
        ends = tuple(sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in pairs))
        prompts.append(Prompt(prompt_id, prompt, tuple(responses.values()), pairs=ends))  # type: ignore[arg-type]
    pool = Pool(tuple(prompts), name=batch.batch_id)
    return [finding for finding in text_findings(pool, pool_report(pool)) if finding.severity == "warning"]
