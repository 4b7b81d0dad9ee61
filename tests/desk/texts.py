"""Clean and broken pools of texts."""

from __future__ import annotations

from curation.health.finding import Finding
from curation.pool.schema import Pool, Prompt


def pool_of(prompts: list[Prompt]) -> Pool:
    return Pool(tuple(prompts), "planted")


def by_key(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.key for finding in findings}) == len(findings)
    return {finding.key: finding for finding in findings}
